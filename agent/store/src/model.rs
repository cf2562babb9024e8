//! Models: what made the vectors.

use ginnel_proto::sync::hlc::Hlc;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::error::{Error, ErrorKind, Quoted, Result};
use crate::id::ModelId;
use crate::ingest;
use crate::limits::{LABEL_MAX, MODELS_MAX};
use crate::vector::DIMENSIONS_MAX;
use crate::vector::metric::Metric;
use crate::write::Turn;

/// The longest vector where length counts: squares of sums of two still fit.
pub(crate) const LENGTH_MAX: f64 = 1e18;

/// A model, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// All that decides its vectors.
    pub id: ModelId,
    /// What people call it.
    pub name: String,
    /// Values of a vector.
    pub dimensions: usize,
    /// What near means for them.
    pub metric: Metric,
}

impl Model {
    fn validate(&self) -> Result<()> {
        if !(1..=DIMENSIONS_MAX).contains(&self.dimensions) {
            return Err(Error::invalid(format!(
                "model has too few or too many dimensions, model={}, dimensions={}, limit={DIMENSIONS_MAX}",
                Quoted(&self.name),
                self.dimensions
            )));
        }
        if self.name.is_empty() || self.name.len() > LABEL_MAX {
            return Err(Error::invalid(format!(
                "model name is empty or too long, bytes={}, limit={LABEL_MAX}",
                self.name.len()
            )));
        }
        Ok(())
    }

    /// A vector as it is stored for this model.
    ///
    /// # Errors
    /// `Invalid`: another number of dimensions, a value that is not finite,
    /// nothing but zeros where only the direction counts, or so long where the
    /// length counts that a score would not be finite.
    pub fn prepare(&self, vector: &[f32]) -> Result<Vec<f32>> {
        let wrong = |what: String| Err(Error::invalid(what).with("model", &Quoted(&self.name)));
        if vector.len() != self.dimensions {
            return wrong(format!(
                "vector has another number of dimensions, expected={}, found={}",
                self.dimensions,
                vector.len()
            ));
        }
        if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
            return wrong(format!(
                "vector has a value that is not finite, dimension={at}"
            ));
        }
        let square: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
        let length = square.sqrt();
        if self.metric != Metric::Cosine {
            if length > LENGTH_MAX {
                return wrong(format!(
                    "vector is too long to be compared, length={length:e}, limit={LENGTH_MAX:e}"
                ));
            }
            return Ok(vector.to_vec());
        }
        if length == 0.0 {
            return wrong("vector is zero everywhere, it has no direction".to_owned());
        }
        #[expect(clippy::cast_possible_truncation, reason = "rounded to what is stored")]
        let unit = |value: &f32| (f64::from(*value) / length) as f32;
        Ok(vector.iter().map(unit).collect())
    }
}

/// Adds a model, or its new name. What decides its vectors cannot change.
pub(crate) fn put(turn: &mut Turn<'_>, model: &Model) -> Result<()> {
    model.validate()?;
    let known = find(turn.connection, model.id)?;
    if let Some(known) = &known {
        if known == model {
            return Ok(());
        }
        if (known.dimensions, known.metric) != (model.dimensions, model.metric) {
            return Err(Error::invalid(format!(
                "model is known with other dimensions or another metric, model={}, known={} {}, given={} {}",
                Quoted(&model.name),
                known.dimensions,
                known.metric,
                model.dimensions,
                model.metric
            )));
        }
    } else if list(turn.connection)?.len() >= MODELS_MAX {
        return Err(Error::invalid(format!(
            "store has too many models, limit={MODELS_MAX}; hint: DELETE /v1/models/NAME"
        )));
    }
    let stamp = turn.stamp().to_stored();
    let mut put = turn.connection.prepare_cached(
        "INSERT INTO model (id, name, dimensions, metric, hlc, origin)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name,
             dimensions = excluded.dimensions, metric = excluded.metric,
             hlc = excluded.hlc, origin = excluded.origin, deleted = 0",
    )?;
    put.execute((
        model.id,
        &model.name,
        model.dimensions,
        model.metric.name(),
        stamp,
        turn.origin,
    ))?;
    Ok(())
}

/// Vectors that are taken away in one transaction: others wait for so long.
const PURGED_AT_ONCE: usize = 4096;

/// What the entries of `meta` begin with that name models to be purged.
const PURGE: &str = "purge ";

/// Takes a model away; its vectors go by [`purge`]. Tells whether it was there.
/// Its row stays, and says up to when all of its vectors are dead, however late
/// they come.
pub(crate) fn delete(turn: &mut Turn<'_>, id: ModelId) -> Result<bool> {
    if find(turn.connection, id)?.is_none() {
        return Ok(false);
    }
    let stamp = turn.stamp();
    turn.connection
        .prepare_cached(
            "UPDATE model SET deleted = 1, name = '', dimensions = 0, metric = '',
                 hlc = ?2, origin = ?3 WHERE id = ?1",
        )?
        .execute((id, stamp.to_stored(), turn.origin))?;
    raise_floor(turn.connection, id, stamp)?;
    ingest::read_again_for(turn, id)?;
    Ok(true)
}

/// Vectors of the model up to this stamp are dead; zero if none are.
pub(crate) fn floor(connection: &Connection, id: ModelId) -> Result<Hlc> {
    let mut find = connection.prepare_cached("SELECT extra FROM model WHERE id = ?1")?;
    let extra: Option<Option<Vec<u8>>> = find.query_row([id], |row| row.get(0)).optional()?;
    Ok(extra.flatten().map_or_else(Hlc::default, |extra| {
        ginnel_proto::sync::extra::floor(&extra)
    }))
}

/// Lets all vectors of a model go that are no later than this; [`purge`] takes
/// them away.
pub(crate) fn raise_floor(connection: &Connection, id: ModelId, floor: Hlc) -> Result<()> {
    let mut find = connection.prepare_cached("SELECT extra FROM model WHERE id = ?1")?;
    let extra: Option<Option<Vec<u8>>> = find.query_row([id], |row| row.get(0)).optional()?;
    let extra = extra.flatten().unwrap_or_default();
    if ginnel_proto::sync::extra::floor(&extra) < floor {
        connection
            .prepare_cached("UPDATE model SET extra = ?2 WHERE id = ?1")?
            .execute((id, ginnel_proto::sync::extra::with_floor(&extra, floor)))?;
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute((purge_key(id), id))?;
    Ok(())
}

/// Takes some vectors of a model away that is or was gone, of those behind the
/// rowid `after`: it may have come back, and keeps what it got since. Gives up
/// to where, if there may be more.
pub(crate) fn purge(turn: &mut Turn<'_>, id: ModelId, after: i64) -> Result<Option<i64>> {
    let floor = floor(turn.connection, id)?.to_stored();
    let mut find = turn.connection.prepare_cached(
        "SELECT rowid FROM embedding
         WHERE rowid > ?2 AND model = ?1 AND hlc <= ?4 ORDER BY rowid LIMIT ?3",
    )?;
    let found = find.query_map((id, after, PURGED_AT_ONCE, floor), |row| row.get(0))?;
    let rows: Vec<i64> = found.collect::<rusqlite::Result<_>>()?;
    let mut purge = turn
        .connection
        .prepare_cached("DELETE FROM embedding WHERE rowid = ?1")?;
    for row in &rows {
        purge.execute([row])?;
    }
    match rows.last() {
        Some(last) if rows.len() == PURGED_AT_ONCE => Ok(Some(*last)),
        Some(_) | None => {
            turn.connection
                .prepare_cached("DELETE FROM meta WHERE key = ?1")?
                .execute([purge_key(id)])?;
            Ok(None)
        }
    }
}

/// Models that are or were gone and may still have vectors of then: a stop cut
/// that off.
pub(crate) fn unpurged(connection: &Connection) -> Result<Vec<ModelId>> {
    let mut find = connection.prepare_cached("SELECT value FROM meta WHERE key GLOB ?1")?;
    let found = find.query_map([format!("{PURGE}*")], |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn purge_key(id: ModelId) -> String {
    format!("{PURGE}{id}")
}

/// The model of this id, if the store knows it.
pub(crate) fn find(connection: &Connection, id: ModelId) -> Result<Option<Model>> {
    let mut find = connection.prepare_cached(
        "SELECT id, name, dimensions, metric FROM model WHERE id = ?1 AND deleted = 0",
    )?;
    find.query_row([id], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

/// The model of this id, or an error that it is not known.
pub(crate) fn expect(connection: &Connection, id: ModelId) -> Result<Model> {
    find(connection, id)?
        .ok_or_else(|| Error::new(ErrorKind::Missing, "model is not known").with("model", &id))
}

/// All models, by when they came.
pub(crate) fn list(connection: &Connection) -> Result<Vec<Model>> {
    let mut list = connection.prepare_cached(
        "SELECT id, name, dimensions, metric FROM model WHERE deleted = 0 ORDER BY rowid",
    )?;
    let mut rows = list.query([])?;
    let mut models = Vec::new();
    while let Some(row) = rows.next()? {
        models.push(read(row)?);
    }
    Ok(models)
}

fn read(row: &Row<'_>) -> Result<Model> {
    let model = Model {
        id: row.get("id")?,
        name: row.get("name")?,
        dimensions: row.get("dimensions")?,
        metric: row
            .get::<_, String>("metric")?
            .parse()
            .map_err(|reason| Error::corrupt(format!("model cannot be read, reason={reason}")))?,
    };
    model
        .validate()
        .map_err(|reason| Error::corrupt(reason.to_string()))?;
    Ok(model)
}
