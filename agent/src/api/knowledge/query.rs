//! The query of a URI: `?collection=notes&limit=5`.

use super::{Problem, invalid};
use crate::api::percent;

/// Names and values, decoded; each must be taken by someone.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &http::Uri) -> Result<Self, Problem> {
        let query = uri.query().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        };
        pairs.map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// All values of a name, in their order.
    pub(super) fn all(&mut self, name: &str) -> Vec<String> {
        let (named, others) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(found, _)| found == name);
        self.0 = others;
        let named: Vec<(String, String)> = named;
        named.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of a name, which may be given once.
    pub(super) fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        let value = values.pop();
        match values.is_empty() {
            true => Ok(value),
            false => Err(invalid(format!("given more than once, name={name}"))),
        }
    }

    /// The value of a name, as what it stands for.
    pub(super) fn parsed<T>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let Some(value) = self.one(name)? else {
            return Ok(None);
        };
        let parsed = value.parse();
        parsed
            .map(Some)
            .map_err(|error: T::Err| invalid(format!("{error}, name={name}")))
    }

    /// Nothing may be left over.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(format!("unknown parameter, name={name}"))),
        }
    }
}

/// Percent-encoding, and `+` for a space (WHATWG URL, "urlencoded parsing").
fn decode(text: &str) -> Result<String, Problem> {
    let decoded = percent::decode(&text.replace('+', " "));
    decoded.ok_or_else(|| invalid("query is not encoded well, or not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_taken_apart() {
        let uri = "/x?q=a+b%26c&tag=1&tag=2&limit=5".parse().expect("a URI");
        let mut query = Query::of(&uri).expect("read");
        assert_eq!(query.one("q").expect("once").as_deref(), Some("a b&c"));
        assert_eq!(query.all("tag"), ["1", "2"]);
        assert_eq!(query.parsed::<usize>("limit").expect("a number"), Some(5));
        assert_eq!(query.one("absent").expect("none"), None);
        query.finish().expect("nothing left");
        for bad in ["/x?q=%zz", "/x?q=%e4"] {
            assert!(Query::of(&bad.parse().expect("a URI")).is_err(), "{bad}");
        }
        let uri = "/x?a=1&a=2".parse().expect("a URI");
        assert!(Query::of(&uri).expect("read").one("a").is_err());
        assert!(Query::of(&uri).expect("read").finish().is_err());
    }
}
