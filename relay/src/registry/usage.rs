//! Usage: what each user and device sent through the relay.
//!
//! The caller adds up over some seconds and records sums, not requests.

use ginnel_proto::id::{DeviceName, UpstreamName, UserName};
use rusqlite::{Connection, Row, params};

use super::error::{Error, Result, Stored};
use super::{Registry, limits};

/// A sum of traffic to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageEvent {
    /// Unique; recording the same id again changes nothing.
    pub id: String,
    /// Whose traffic it was.
    pub user: UserName,
    /// Which device it passed.
    pub device: DeviceName,
    /// Which way it went.
    pub direction: Direction,
    /// The model that was asked, where known.
    pub model: Option<String>,
    /// How much it was.
    pub amount: Amount,
    /// When it ended, unix milliseconds.
    pub at_ms: i64,
}

/// Which way traffic went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direction {
    /// From a public caller to a service on the device.
    Forward,
    /// From the device to a cloud API.
    Upstream(UpstreamName),
}

/// How much traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Requests.
    pub requests: u64,
    /// Body bytes towards the service or upstream.
    pub bytes_in: u64,
    /// Body bytes back.
    pub bytes_out: u64,
    /// Tokens that the model read.
    pub input_tokens: u64,
    /// Tokens that the model wrote.
    pub output_tokens: u64,
}

/// One line of [`Registry::usage_summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageRow {
    /// Whose traffic it was.
    pub user: UserName,
    /// Which way it went.
    pub direction: Direction,
    /// The model that was asked, where known.
    pub model: Option<String>,
    /// How much it was.
    pub amount: Amount,
}

/// Walks the users so that each one's part comes from `idx_usage_user`.
pub(super) const SUMMARY: &str = "SELECT e.user_id, e.upstream, e.model, \
     sum(e.requests) AS requests, sum(e.bytes_in) AS bytes_in, sum(e.bytes_out) AS bytes_out, \
     sum(e.input_tokens) AS input_tokens, sum(e.output_tokens) AS output_tokens \
     FROM users AS u CROSS JOIN usage_events AS e \
     WHERE e.user_id = u.id AND e.created_at >= ?1 \
     GROUP BY e.user_id, e.upstream, e.model ORDER BY e.user_id, e.upstream, e.model";

impl Registry {
    /// Records sums of traffic, all or none. An id that was recorded before is
    /// passed over, so a batch can be sent again after an error.
    ///
    /// # Errors
    /// `Invalid` when there are too many events, a user does not exist or a
    /// number is out of range, `Unavailable` or `Closed`.
    pub async fn record_usage(&self, events: Vec<UsageEvent>) -> Result<()> {
        if events.len() > limits::USAGE_BATCH_MAX {
            return Err(Error::invalid(format!(
                "too many usage events in one batch, events={}, limit={}",
                events.len(),
                limits::USAGE_BATCH_MAX
            )));
        }
        if events.is_empty() {
            return Ok(());
        }
        self.write(move |transaction| {
            events
                .iter()
                .try_for_each(|event| record(transaction, event))
        })
        .await
    }

    /// The traffic since a moment, added up by user, upstream and model.
    ///
    /// # Errors
    /// `Corrupt` when a row cannot be read, `Unavailable` or `Closed`.
    pub async fn usage_summary(&self, since_ms: i64) -> Result<Vec<UsageRow>> {
        self.read(move |connection| {
            connection
                .prepare_cached(SUMMARY)?
                .query_and_then([since_ms], read_row)?
                .collect()
        })
        .await
    }
}

fn record(connection: &Connection, event: &UsageEvent) -> Result<()> {
    let model = event.model.as_deref();
    for text in [Some(event.id.as_str()), model].into_iter().flatten() {
        if text.is_empty() || text.len() > limits::USAGE_TEXT_MAX {
            return Err(Error::invalid(format!(
                "usage event id or model is empty or too long, bytes={}",
                text.len()
            )));
        }
    }
    let (event_type, upstream) = match &event.direction {
        Direction::Forward => ("forward", None),
        Direction::Upstream(name) => ("upstream", Some(name.as_str())),
    };
    let amount = &event.amount;
    let tokens = amount.input_tokens.saturating_add(amount.output_tokens);
    connection
        .prepare_cached(
            "INSERT INTO usage_events (id, user_id, event_type, tokens, model, created_at, device_name,
                 upstream, requests, bytes_in, bytes_out, input_tokens, output_tokens)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            event.id,
            event.user.as_str(),
            event_type,
            to_stored(tokens)?,
            model,
            event.at_ms,
            event.device.as_str(),
            upstream,
            to_stored(amount.requests)?,
            to_stored(amount.bytes_in)?,
            to_stored(amount.bytes_out)?,
            to_stored(amount.input_tokens)?,
            to_stored(amount.output_tokens)?,
        ])?;
    Ok(())
}

fn to_stored(count: u64) -> Result<i64> {
    i64::try_from(count)
        .map_err(|_| Error::invalid(format!("usage is out of range, count={count}")))
}

fn read_row(row: &Row<'_>) -> Result<UsageRow> {
    let user: String = row.get("user_id")?;
    let upstream: Option<String> = row.get("upstream")?;
    let stored = Stored {
        table: "usage_events",
        row: &user,
    };
    let sum = |column: &'static str| -> Result<u64> {
        let value: i64 = row.get(column)?;
        stored.convert(column, value)
    };
    Ok(UsageRow {
        user: stored.parse("user_id", &user)?,
        direction: match upstream {
            Some(name) => Direction::Upstream(stored.parse("upstream", &name)?),
            None => Direction::Forward,
        },
        model: row.get("model")?,
        amount: Amount {
            requests: sum("requests")?,
            bytes_in: sum("bytes_in")?,
            bytes_out: sum("bytes_out")?,
            input_tokens: sum("input_tokens")?,
            output_tokens: sum("output_tokens")?,
        },
    })
}
