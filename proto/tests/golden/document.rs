//! `docs/PROTOCOL.md` says what the code does: its tables are compared with
//! the code, both ways.

use std::collections::BTreeMap;
use std::time::Duration;

use ginnel_proto::code::Code;
use ginnel_proto::frame::FrameType;
use ginnel_proto::link::{backoff, heartbeat};
use ginnel_proto::{artifact, id, limits};

const DOCUMENT: &str = include_str!("../../../docs/PROTOCOL.md");
const SCHEMA: &str = include_str!("../../schema/ginnel.proto");
const LIMITS: &str = include_str!("../../src/limits.rs");

#[test]
fn the_table_of_codes_is_the_code() {
    let documented: Vec<_> = rows("## 12. Codes")
        .map(|cells| (cells[0].clone(), cells[1].clone(), cells[2].clone()))
        .collect();
    let known: Vec<_> = Code::ALL
        .iter()
        .map(|code| {
            let number = format!("{:#04x}", code.number());
            let status = code.status().as_u16().to_string();
            (number, code.name().to_owned(), status)
        })
        .collect();
    assert_eq!(documented, known);
}

#[test]
fn the_table_of_frames_is_the_code() {
    let documented: Vec<_> = rows("## 3. Frames")
        .filter(|cells| cells[0].starts_with("0x"))
        .map(|cells| (cells[0].clone(), cells[1].clone()))
        .collect();
    let known: Vec<_> = FrameType::ALL
        .iter()
        .map(|kind| {
            (
                format!("{:#04x}", kind.number()),
                frame_name(*kind).to_owned(),
            )
        })
        .collect();
    assert_eq!(documented, known);
}

fn frame_name(kind: FrameType) -> &'static str {
    match kind {
        FrameType::Open => "OPEN",
        FrameType::Head => "HEAD",
        FrameType::Data => "DATA",
        FrameType::Rest => "REST",
        FrameType::Trailers => "TRAILERS",
        FrameType::Message => "MSG",
        other => panic!("{other:?} has no name in the document"),
    }
}

#[test]
fn the_table_of_limits_is_the_code() {
    let documented: BTreeMap<String, String> = rows("## 13. Limits and timers")
        .map(|cells| (cells[0].clone(), cells[1].replace(',', "")))
        .collect();
    assert_eq!(documented, known_limits());
}

/// Every limit by its name, as the document shows it.
fn known_limits() -> BTreeMap<String, String> {
    macro_rules! limits {
        ($($path:ident :: $name:ident),* $(,)?) => {
            [$(
                (stringify!($path), stringify!($name), $path::$name.shown()),
            )*]
        };
    }
    let all = limits![
        limits::HEAD_MAX,
        limits::HEADERS_MAX,
        limits::MESSAGE_MAX,
        limits::OPEN_MAX,
        limits::SKIP_MAX,
        limits::SERVICES_MAX,
        limits::CAPABILITIES_MAX,
        limits::TEXT_MAX,
        limits::CERTIFICATE_REQUEST_MAX,
        limits::BASES_MAX,
        limits::UPLOAD_ID_MAX,
        limits::PART_TAG_MAX,
        limits::PARTS_IN_MESSAGE,
        limits::PARTS_MAX,
        limits::CHUNKS_MAX,
        limits::HELLO_TIMEOUT,
        limits::HEAD_TIMEOUT,
        limits::KEEP_ALIVE,
        limits::IDLE_TIMEOUT,
        limits::HEARTBEAT,
        limits::HEARTBEAT_RANGE,
        limits::STREAMS_INITIAL,
        limits::STREAMS_MAX,
        limits::STREAM_WINDOW,
        limits::WINDOW_BEFORE_WELCOME,
        limits::LINK_WINDOW,
        limits::LINK_WINDOW_MAX,
        limits::SEND_WINDOW,
        limits::BULK_AFTER,
        limits::DATAGRAM_MAX,
        backoff::BASE,
        backoff::CAP,
        backoff::HEALTHY_AFTER,
        heartbeat::LOST_AFTER,
        artifact::FILE_NAME_MAX,
        id::NAME_MAX,
        id::DOMAIN_MAX,
    ];
    let named = |(path, name, shown): (&str, &str, String)| match path {
        "limits" => (name.to_owned(), shown),
        path => (format!("{path}::{name}"), shown),
    };
    all.into_iter().map(named).collect()
}

#[test]
fn no_limit_is_left_out_of_the_list_above() {
    let declared = LIMITS
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "));
    let known = known_limits();
    for line in declared {
        let (name, _) = line.split_once(':').expect("a type follows the name");
        assert!(known.contains_key(name), "{name} is not in the list");
    }
}

/// A limit as the document shows it, without thousands separators.
trait Shown {
    fn shown(&self) -> String;
}

macro_rules! shown_as_number {
    ($($number:ty),*) => {$(
        impl Shown for $number {
            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

shown_as_number!(u32, u64, usize);

impl Shown for Duration {
    fn shown(&self) -> String {
        match self.subsec_millis() {
            0 => format!("{} s", self.as_secs()),
            _ => format!("{} ms", self.as_millis()),
        }
    }
}

impl Shown for (Duration, Duration) {
    fn shown(&self) -> String {
        format!("{} to {}", self.0.shown(), self.1.shown())
    }
}

#[test]
fn the_table_of_fields_is_the_schema() {
    let documented: Vec<_> = rows("### Payloads")
        .map(|cells| (cells[0].clone(), cells[1].clone()))
        .collect();
    assert_eq!(sorted(documented), sorted(schema_fields()));
}

/// `Message.field` and number of every field in the schema.
fn schema_fields() -> Vec<(String, String)> {
    let mut message = "";
    let mut in_enum = false;
    let mut fields = Vec::new();
    for line in SCHEMA.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("message ") {
            message = name.trim_end_matches(" {");
        }
        in_enum = line.starts_with("enum ") || (in_enum && line != "}");
        let Some((declared, number)) = line.split_once(" = ") else {
            continue;
        };
        let number = number.trim_end_matches(';');
        if in_enum || number.parse::<u32>().is_err() {
            continue;
        }
        let name = declared.rsplit(' ').next().unwrap_or(declared);
        fields.push((format!("{message}.{name}"), number.to_owned()));
    }
    fields
}

fn sorted(mut list: Vec<(String, String)>) -> Vec<(String, String)> {
    list.sort();
    list
}

/// The rows of the tables between a heading and the next, without their head
/// and without backticks.
fn rows(heading: &str) -> impl Iterator<Item = Vec<String>> {
    let section = DOCUMENT
        .lines()
        .skip_while(move |line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'));
    let lines: Vec<&str> = section.collect();
    assert!(!lines.is_empty(), "no section {heading:?}");
    let heads: Vec<usize> = (1..lines.len())
        .filter(|at| lines[*at].starts_with("| ---"))
        .map(|at| at - 1)
        .collect();
    let rows: Vec<Vec<String>> = lines
        .iter()
        .enumerate()
        .filter(|(at, line)| {
            line.starts_with("| ") && !line.starts_with("| ---") && !heads.contains(at)
        })
        .map(|(_, line)| cells(line))
        .collect();
    rows.into_iter()
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    let cells = inner.split('|').map(|cell| cell.trim().trim_matches('`'));
    cells.map(str::to_owned).collect()
}
