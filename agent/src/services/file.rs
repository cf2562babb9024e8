//! `services.toml`: the allow list on disk.
//!
//! ```toml
//! [web]
//! target = "http://127.0.0.1:3000"
//! public = true
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ginnel_certs::private_file;
use ginnel_proto::id::ServiceName;
use ginnel_proto::limits::SERVICES_MAX;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::spec::{ServiceSpec, SharedService};
use super::{List, ServicesError};
use ginnel_daemon::mistakes::Mistakes;
use ginnel_daemon::toml_file::TomlFile;

const HEAD: &str = "\
# What this device shares. Written by `ginnel share` and `ginnel unshare`;
# edit it only while `ginnel up` is not running.
";

/// Reads the list; a missing file is an empty one.
pub(super) fn read(path: &Path) -> Result<List, Mistakes> {
    match TomlFile::read(path)? {
        Some(file) => parse(&file),
        None => Ok(List::new()),
    }
}

/// Writes the list, whole or not at all.
pub(super) fn write(path: &Path, list: &List) -> Result<(), ServicesError> {
    private_file::write(path, render(list)?.as_bytes()).map_err(ServicesError::Write)
}

fn render(list: &List) -> Result<String, ServicesError> {
    let mut text = HEAD.to_owned();
    for (name, service) in list {
        let spec = toml::to_string(&service.spec()).map_err(ServicesError::Render)?;
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[{name}]\n{spec}");
    }
    Ok(text)
}

fn parse(file: &TomlFile) -> Result<List, Mistakes> {
    let mut mistakes = Mistakes::default();
    let Some(table) = file.table(&mut mistakes) else {
        return Err(mistakes);
    };
    let mut list = BTreeMap::new();
    for (key, value) in &table {
        let place = file.place(key.span());
        let name = match ServiceName::parse(key.get_ref()) {
            Ok(name) => name,
            Err(error) => {
                mistakes.add(place, error);
                continue;
            }
        };
        let DeValue::Table(fields) = value.get_ref() else {
            mistakes.add(place, format_args!("{name}: is not a table like [{name}]"));
            continue;
        };
        let Some(spec) = read_fields(file, &name, fields, &mut mistakes) else {
            continue;
        };
        match SharedService::new(name.clone(), &spec) {
            Ok(service) => {
                list.insert(name, service.into());
            }
            Err(wrong) => mistakes.add_all(format_args!("{place}: {name}"), wrong),
        }
    }
    if table.len() > SERVICES_MAX {
        let what = format_args!("{} services, at most {SERVICES_MAX}", table.len());
        mistakes.add(file.place(0..0), what);
    }
    mistakes.or(list)
}

/// Reads the keys below `[NAME]`; `None` if one of them is wrong.
fn read_fields(
    file: &TomlFile,
    name: &ServiceName,
    fields: &DeTable<'_>,
    mistakes: &mut Mistakes,
) -> Option<ServiceSpec> {
    let mut spec = ServiceSpec::default();
    let mut complete = fields.contains_key("target");
    if !complete {
        mistakes.add(
            file.place(first_span(fields)),
            format_args!("{name}: has no target"),
        );
    }
    for (key, value) in fields {
        let read = match key.get_ref().as_ref() {
            "target" => text(value).map(|text| spec.target = text),
            "tls_ca" => text(value).map(|text| spec.tls_ca = Some(text)),
            "public" => flag(value).map(|flag| spec.public = flag),
            "allow_remote" => flag(value).map(|flag| spec.allow_remote = flag),
            "tls_insecure" => flag(value).map(|flag| spec.tls_insecure = flag),
            _ => Err("is not a known key"),
        };
        if let Err(what) = read {
            complete = false;
            let place = file.place(key.span());
            mistakes.add(place, format_args!("{name}: {} {what}", key.get_ref()));
        }
    }
    complete.then_some(spec)
}

fn first_span(fields: &DeTable<'_>) -> std::ops::Range<usize> {
    let first: Option<(&Spanned<DeString<'_>>, _)> = fields.iter().next();
    first.map(|(key, _)| key.span()).unwrap_or_default()
}

fn text(value: &Spanned<DeValue<'_>>) -> Result<String, &'static str> {
    let text = value.get_ref().as_str().ok_or("is not text in quotes")?;
    Ok(text.to_owned())
}

fn flag(value: &Spanned<DeValue<'_>>) -> Result<bool, &'static str> {
    value.get_ref().as_bool().ok_or("is neither true nor false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("services.toml");
        assert!(read(&path).expect("absent").is_empty());
        let list = parse_text(
            "[web]\ntarget = \"3000\"\npublic = true\n\
             [api]\ntarget = \"https://10.0.0.1:1\"\nallow_remote = true\ntls_insecure = true\n\
             [\"0\"]\ntarget = 'demo'\n",
        )
        .expect("valid");
        assert_eq!(list.len(), 3);
        write(&path, &list).expect("written");
        assert_eq!(read(&path).expect("read"), list);
        write(&path, &List::new()).expect("written");
        assert!(read(&path).expect("read").is_empty());
    }

    #[test]
    fn every_mistake_is_named_with_its_line_and_service() {
        let mistakes = parse_text(
            "[web]\n\
             target = \"ftp://x:1\"\n\
             [api]\n\
             target = \"3000\"\n\
             publik = true\n\
             public = \"yes\"\n\
             [Bad]\n\
             target = \"3000\"\n\
             [empty]\n\
             public = true\n",
        )
        .expect_err("five mistakes");
        let lines = mistakes.lines();
        for (place, what) in [
            (":1: web: target: ", "unknown scheme"),
            (":5: api: publik ", "is not a known key"),
            (":6: api: public ", "neither true nor false"),
            (":7: ", "service name"),
            (":10: empty: ", "has no target"),
        ] {
            let found = lines.iter().any(|l| l.contains(place) && l.contains(what));
            assert!(found, "{place} {what} not in {mistakes}");
        }
        assert_eq!(lines.len(), 5, "{mistakes}");
    }

    #[test]
    fn a_service_that_is_no_table_is_refused() {
        let mistakes = parse_text("web = 3000").expect_err("no table");
        assert!(mistakes.to_string().contains("like [web]"), "{mistakes}");
    }

    #[test]
    fn the_list_has_a_limit() {
        let service = |n| format!("[s{n}]\ntarget = \"demo\"\n");
        let full: String = (0..SERVICES_MAX).map(service).collect();
        assert!(parse_text(&full).is_ok());
        let over = full + &service(SERVICES_MAX);
        let mistakes = parse_text(&over).expect_err("one too many");
        assert!(mistakes.to_string().contains("at most 256"), "{mistakes}");
    }

    fn parse_text(text: &str) -> Result<List, Mistakes> {
        parse(&TomlFile::new(Path::new("services.toml"), text.to_owned()))
    }
}
