//! Usage: what each user and device sent to upstreams, by the hour.
//!
//! The caller adds up over a second and records sums, not requests; see
//! [`crate::ledger`].

use ginnel_proto::id::{DeviceName, UpstreamName, UserName};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::error::{Error, Result, Stored};
use super::{Registry, limits};

/// An hour, milliseconds.
const HOUR_MS: i64 = 60 * 60 * 1000;

/// Sums of traffic to record.
///
/// Batches of one run of the relay are numbered upwards. One that is not above
/// the last that was recorded changes nothing, so that it can be sent again
/// after an error or a lost answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageBatch {
    /// Names the run: random.
    pub run: [u8; 16],
    /// Its number.
    pub number: u64,
    /// What was used.
    pub sums: Vec<UsageSum>,
}

/// A sum of traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSum {
    /// What it was.
    pub key: UsageKey,
    /// How much it was.
    pub amount: Amount,
}

/// What is added up separately.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageKey {
    /// Whose traffic it was.
    pub user: UserName,
    /// Which device it came from.
    pub device: DeviceName,
    /// Where it went.
    pub upstream: UpstreamName,
    /// The model that was asked, where known.
    pub model: Option<String>,
    /// The hour it ended in.
    pub hour: Hour,
}

/// An hour since 1970: the millisecond it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hour(i64);

impl Hour {
    /// The hour of a moment, unix milliseconds.
    #[must_use]
    pub fn of(unix_ms: i64) -> Self {
        Self(unix_ms.saturating_sub(unix_ms.rem_euclid(HOUR_MS)))
    }
}

/// How much traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Requests.
    pub requests: u64,
    /// Body bytes towards the upstream.
    pub bytes_in: u64,
    /// Body bytes back.
    pub bytes_out: u64,
    /// Tokens that the model read.
    pub input_tokens: u64,
    /// Tokens that the model wrote.
    pub output_tokens: u64,
}

impl Amount {
    /// Adds another amount.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.requests, other.requests),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// One line of [`Registry::usage_summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageRow {
    /// Whose traffic it was.
    pub user: UserName,
    /// Where it went.
    pub upstream: UpstreamName,
    /// The model that was asked, where known.
    pub model: Option<String>,
    /// How much it was.
    pub amount: Amount,
}

/// Walks the users so that each one's part comes from the primary key.
pub(super) const SUMMARY: &str = "SELECT e.user_id, e.upstream, nullif(e.model, '') AS model, \
     sum(e.requests) AS requests, sum(e.bytes_in) AS bytes_in, sum(e.bytes_out) AS bytes_out, \
     sum(e.input_tokens) AS input_tokens, sum(e.output_tokens) AS output_tokens \
     FROM users AS u CROSS JOIN usage_hours AS e \
     WHERE e.user_id = u.id AND e.hour >= ?1 \
     GROUP BY e.user_id, e.upstream, e.model ORDER BY e.user_id, e.upstream, e.model";

pub(super) const PRUNE: &str = "DELETE FROM usage_hours WHERE rowid IN \
     (SELECT rowid FROM usage_hours WHERE hour < ?1 LIMIT ?2)";

impl Registry {
    /// Records sums of traffic, all or none, once.
    ///
    /// # Errors
    /// `Invalid` when there are too many sums, a user does not exist or a
    /// number is out of range, `Unavailable` or `Closed`.
    pub async fn record_usage(&self, batch: UsageBatch) -> Result<()> {
        if batch.sums.len() > limits::USAGE_BATCH_MAX {
            return Err(Error::invalid(format!(
                "too many sums of usage in one batch, sums={}, limit={}",
                batch.sums.len(),
                limits::USAGE_BATCH_MAX
            )));
        }
        self.write(move |transaction| {
            if !is_next(transaction, &batch)? {
                return Ok(());
            }
            batch.sums.iter().try_for_each(|sum| add(transaction, sum))
        })
        .await
    }

    /// The traffic since the hour of a moment, added up by user, upstream and
    /// model.
    ///
    /// # Errors
    /// `Corrupt` when a row cannot be read, `Unavailable` or `Closed`.
    pub async fn usage_summary(&self, since_ms: i64) -> Result<Vec<UsageRow>> {
        let Hour(since) = Hour::of(since_ms);
        self.read(move |connection| {
            connection
                .prepare_cached(SUMMARY)?
                .query_and_then([since], read_row)?
                .collect()
        })
        .await
    }

    /// Forgets some of the traffic that is too old to keep; called now and
    /// then, it forgets all of it. Returns how many rows went.
    ///
    /// # Errors
    /// `Unavailable` or `Closed`.
    pub async fn prune_usage(&self, now_ms: i64) -> Result<usize> {
        let Hour(oldest) = Hour::of(now_ms.saturating_sub(limits::USAGE_KEPT_MS));
        let most = to_stored(limits::USAGE_PRUNE_MAX)?;
        self.write(move |transaction| {
            let mut prune = transaction.prepare_cached(PRUNE)?;
            Ok(prune.execute([oldest, most])?)
        })
        .await
    }
}

/// Whether the batch was not recorded before; notes that it is now.
fn is_next(connection: &Connection, batch: &UsageBatch) -> Result<bool> {
    let last: Option<Vec<u8>> = connection
        .prepare_cached("SELECT value FROM meta WHERE key = 'usage_batch'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let this = [&batch.run[..], &batch.number.to_be_bytes()].concat();
    // Within a run the numbers, most significant byte first, sort as bytes.
    let is_old = |last: Vec<u8>| last.starts_with(&batch.run) && last >= this;
    if last.is_some_and(is_old) {
        return Ok(false);
    }
    connection
        .prepare_cached(
            "INSERT INTO meta (key, value) VALUES ('usage_batch', ?1)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )?
        .execute([this])?;
    Ok(true)
}

fn add(connection: &Connection, sum: &UsageSum) -> Result<()> {
    let UsageSum { key, amount } = sum;
    let model = key.model.as_deref();
    if model.is_some_and(|model| model.is_empty() || model.len() > limits::USAGE_TEXT_MAX) {
        return Err(Error::invalid(format!(
            "model is empty or too long, bytes={}",
            model.unwrap_or_default().len()
        )));
    }
    connection
        .prepare_cached(
            "INSERT INTO usage_hours (user_id, hour, device_name, upstream, model,
                 requests, bytes_in, bytes_out, input_tokens, output_tokens)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (user_id, hour, device_name, upstream, model) DO UPDATE SET
                 requests = requests + excluded.requests,
                 bytes_in = bytes_in + excluded.bytes_in,
                 bytes_out = bytes_out + excluded.bytes_out,
                 input_tokens = input_tokens + excluded.input_tokens,
                 output_tokens = output_tokens + excluded.output_tokens",
        )?
        .execute(params![
            key.user.as_str(),
            key.hour.0,
            key.device.as_str(),
            key.upstream.as_str(),
            model.unwrap_or_default(),
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
    let upstream: String = row.get("upstream")?;
    let stored = Stored {
        table: "usage_hours",
        row: &user,
    };
    let sum = |column: &'static str| -> Result<u64> {
        let value: i64 = row.get(column)?;
        stored.convert(column, value)
    };
    Ok(UsageRow {
        user: stored.parse("user_id", &user)?,
        upstream: stored.parse("upstream", &upstream)?,
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
