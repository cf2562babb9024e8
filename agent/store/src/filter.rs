//! Filters: which passages a search may find.

pub(crate) mod kept;

use std::str::FromStr;

use ginnel_proto::id::CollectionName;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::error::{Error, Quoted, Result};
use crate::limits::{CONDITIONS_MAX, LABEL_MAX};
use crate::vector::passages::Passages;

pub(crate) use kept::Filters;

/// What a passage's document must be like. Everything given must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// One of these; any if there is none.
    pub collections: Vec<CollectionName>,
    /// What its metadata must say.
    pub conditions: Vec<Condition>,
    /// Its source begins like this.
    pub source_prefix: Option<String>,
    /// It was added or changed at this time or later, milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// It was added or changed before this time, milliseconds since 1970.
    pub until_ms: Option<u64>,
}

/// A comparison with a field of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The field; a dot leads into an object: `author.name`.
    pub field: String,
    /// How it is compared.
    pub compare: Compare,
    /// With what.
    pub value: Scalar,
}

/// How a field is compared. Of a list, one element must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// It is the value.
    Equal,
    /// It is less.
    Less,
    /// It is less or the value.
    LessOrEqual,
    /// It is greater.
    Greater,
    /// It is greater or the value.
    GreaterOrEqual,
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A text. Texts are ordered by their bytes, so dates as `2026-11-21` are
    /// in order.
    Text(String),
    /// A number, compared with numbers; and as it was written with texts, so
    /// that `modified>=2026` finds dates.
    Number {
        /// Its value.
        value: f64,
        /// How it was written.
        text: String,
    },
    /// True or false, which are only equal or not.
    Bool(bool),
}

impl Filter {
    /// Whether it lets everything through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How much there is to look at of each passage.
    fn parts(&self) -> usize {
        1 + self.collections.len() + self.conditions.len()
    }

    /// Whether it can be answered.
    ///
    /// # Errors
    /// `Invalid`: too many conditions, a field that is no field, or an order
    /// asked of truth values.
    pub fn validate(&self) -> Result<()> {
        if self.conditions.len().max(self.collections.len()) > CONDITIONS_MAX {
            return Err(Error::invalid(format!(
                "filter has too many conditions, limit={CONDITIONS_MAX}"
            )));
        }
        if self
            .source_prefix
            .as_ref()
            .is_some_and(|prefix| prefix.len() > LABEL_MAX)
        {
            return Err(Error::invalid(format!(
                "source prefix is too long, limit={LABEL_MAX}"
            )));
        }
        self.conditions.iter().try_for_each(Condition::validate)
    }

    /// The live passages that pass.
    pub(crate) fn passages(&self, connection: &Connection) -> Result<Passages> {
        let Sql { text, values } = self.sql();
        let mut find = connection.prepare_cached(&text)?;
        let mut rows = find.query(params_from_iter(values))?;
        let mut passages = Passages::new();
        while let Some(row) = rows.next()? {
            passages.insert(row.get(0)?);
        }
        Ok(passages)
    }

    /// A query for the rowids of passages that pass.
    fn sql(&self) -> Sql {
        let mut sql = Sql {
            text: "SELECT live.rowid FROM live_passage AS live WHERE 1".to_owned(),
            values: Vec::new(),
        };
        if !self.collections.is_empty() {
            let each = |name: &CollectionName| sql.value(Value::Text(name.to_string()));
            let places: Vec<String> = self.collections.iter().map(each).collect();
            sql.and(&format!("live.collection IN ({})", places.join(", ")));
        }
        if let Some(prefix) = &self.source_prefix {
            let place = sql.value(Value::Text(prefix.clone()));
            sql.and(&format!(
                "substr(live.source, 1, length({place})) = {place}"
            ));
        }
        // A stamp holds milliseconds above 16 bits of counter.
        let stamp = |ms: u64| i64::try_from(u128::from(ms) << 16).unwrap_or(i64::MAX);
        if let Some(since) = self.since_ms {
            let place = sql.value(Value::Integer(stamp(since)));
            sql.and(&format!("live.document_hlc >= {place}"));
        }
        if let Some(until) = self.until_ms {
            let place = sql.value(Value::Integer(stamp(until)));
            sql.and(&format!("live.document_hlc < {place}"));
        }
        for condition in &self.conditions {
            condition.add_to(&mut sql);
        }
        sql
    }
}

impl Condition {
    fn validate(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::invalid(what).with("field", &Quoted(&self.field)));
        let named = self.field.split('.').all(|part| !part.is_empty());
        if !named || self.field.contains('"') || self.field.len() > LABEL_MAX {
            return wrong("field is not the name of one");
        }
        match &self.value {
            Scalar::Number { value, .. } if !value.is_finite() => wrong("number is not finite"),
            Scalar::Bool(_) if self.compare != Compare::Equal => {
                wrong("true and false have no order")
            }
            Scalar::Text(_) | Scalar::Number { .. } | Scalar::Bool(_) => Ok(()),
        }
    }

    fn add_to(&self, sql: &mut Sql) {
        let path = self.field.split('.').map(|part| format!(".\"{part}\""));
        let path = sql.value(Value::Text(format!("${}", path.collect::<String>())));
        let sign = self.compare.sign();
        let mut is = |types: &str, value: Value| {
            let value = sql.value(value);
            format!("field.type IN ({types}) AND field.value {sign} {value}")
        };
        let passes = match &self.value {
            Scalar::Text(text) => is("'text'", Value::Text(text.clone())),
            Scalar::Bool(bool) => is("'true', 'false'", Value::Integer((*bool).into())),
            Scalar::Number { value, text } => {
                let as_number = is("'integer', 'real'", Value::Real(*value));
                format!("{as_number} OR {}", is("'text'", Value::Text(text.clone())))
            }
        };
        // Of a single value json_each gives that value.
        sql.and(&format!(
            "EXISTS (SELECT 1 FROM json_each(live.metadata, {path}) AS field WHERE {passes})"
        ));
    }
}

impl Compare {
    /// The longest first, so that `>=` is not read as `>`.
    const ALL: [Self; 5] = [
        Self::LessOrEqual,
        Self::GreaterOrEqual,
        Self::Equal,
        Self::Less,
        Self::Greater,
    ];

    /// Its sign, in SQL and on the command line.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// Reads `author=Jane`, `year>=2020` or `draft=false`. What looks like a number
/// or a truth value is one; in double quotes everything is a text.
impl FromStr for Condition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let at = text.find(['=', '<', '>']);
        let split = at.and_then(|at| text.split_at_checked(at));
        let found = split.and_then(|(field, rest)| {
            let strip = |compare: Compare| Some((compare, rest.strip_prefix(compare.sign())?));
            let (compare, value) = Compare::ALL.into_iter().find_map(strip)?;
            Some((field, compare, value))
        });
        let Some((field, compare, value)) = found else {
            return Err(Error::invalid(format!(
                "not a condition; hint: write it as author=Jane or year>=2020, found={}",
                Quoted(text)
            )));
        };
        let condition = Self {
            field: field.trim().to_owned(),
            compare,
            value: Scalar::parse(value.trim()),
        };
        condition.validate()?;
        Ok(condition)
    }
}

impl Scalar {
    fn parse(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(serde_json::Value::String(text)) => Self::Text(text),
            Ok(serde_json::Value::Bool(bool)) => Self::Bool(bool),
            Ok(serde_json::Value::Number(number)) => Self::Number {
                value: number.as_f64().unwrap_or(f64::NAN),
                text: text.to_owned(),
            },
            Ok(_) | Err(_) => Self::Text(text.to_owned()),
        }
    }
}

/// A query under construction.
#[derive(Debug)]
struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    /// Gives the place of a value.
    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    fn and(&mut self, condition: &str) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let read = |text: &str| text.parse::<Condition>().expect(text);
        let author = read("author=Jane");
        assert_eq!(author.field, "author");
        assert_eq!(author.compare, Compare::Equal);
        assert_eq!(author.value, Scalar::Text("Jane".to_owned()));
        assert_eq!(read("a.b >= 2020").compare, Compare::GreaterOrEqual);
        let number = Scalar::Number {
            value: 2020.0,
            text: "2020".to_owned(),
        };
        assert_eq!(read("a.b >= 2020").value, number);
        assert_eq!(read("a<=2").compare, Compare::LessOrEqual);
        assert_eq!(read("a<2").compare, Compare::Less);
        assert_eq!(read("draft=false").value, Scalar::Bool(false));
        assert_eq!(read("id=\"7\"").value, Scalar::Text("7".to_owned()));
        assert_eq!(read("q=a=b").value, Scalar::Text("a=b".to_owned()));
        for bad in ["", "author", "=Jane", "a..b=1", "a\"b=1", "draft>true"] {
            assert!(bad.parse::<Condition>().is_err(), "{bad}");
        }
    }
}
