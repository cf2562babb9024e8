//! How fast files become passages: `ingest_speed FOLDER…` reads all files of
//! the folders, then prints for each format how many megabytes a second are
//! extracted and cut on one core, without a model.
//!
//! `ingest_speed --show FILE` prints a file's passages instead.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ginnel_ingest::cut::{Estimate, Limits, cut};
use ginnel_ingest::document::Extracted;
use ginnel_ingest::error::{Error, ErrorKind};
use ginnel_ingest::extract::extract;
use ginnel_ingest::format::Format;
use ginnel_ingest::jsonl::Lines;
use ginnel_ingest::limits::FILE_BYTES_MAX;
use ginnel_ingest::pdf;
use ginnel_ingest::read_stable::read_stable;
use ginnel_ingest::walk::{Rules, walk};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let out = &mut io::stdout().lock();
    let done = match arguments.as_slice() {
        [flag, file] if flag == "--show" => show(out, file),
        folders => measure(out, folders),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(out, "{error}");
            ExitCode::FAILURE
        }
    }
}

/// What was read of one format.
#[derive(Default)]
struct Tally {
    files: usize,
    bytes: usize,
    text_bytes: usize,
    passages: usize,
    extract: Duration,
    cut: Duration,
    errors: usize,
    reasons: HashMap<ErrorKind, usize>,
}

fn measure(out: &mut impl Write, folders: &[String]) -> io::Result<()> {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut slowest = (Duration::ZERO, String::new());
    for folder in folders {
        for found in walk(Path::new(folder), Rules::default()) {
            let read = found.and_then(|entry| {
                let file = read_stable(&entry.path, FILE_BYTES_MAX)?;
                let format = Format::of(&entry.relative, &file.bytes)?;
                Ok((entry.relative, format, file.bytes))
            });
            let Ok((name, format, bytes)) = read else {
                tallies.entry("not read").or_default().files += 1;
                continue;
            };
            let tally = tallies.entry(format.mime()).or_default();
            let took = count(tally, &name, format, &bytes);
            if took > slowest.0 {
                slowest = (took, name);
            }
        }
    }
    for (mime, tally) in &tallies {
        print(out, mime, tally)?;
    }
    writeln!(out, "slowest: {:?} {}", slowest.0, slowest.1)
}

fn count(tally: &mut Tally, name: &str, format: Format, bytes: &[u8]) -> Duration {
    let start = cpu_time();
    let documents = read(name, format, bytes);
    let extracted = cpu_time() - start;
    tally.files += 1;
    tally.bytes += bytes.len();
    tally.extract += extracted;
    let start = cpu_time();
    for document in documents {
        let document = match document {
            Ok(document) => document,
            Err(error) => {
                tally.errors += 1;
                *tally.reasons.entry(error.kind()).or_default() += 1;
                continue;
            }
        };
        tally.text_bytes += document.text.len();
        let passages = cut(
            &document.text,
            &document.blocks,
            &Estimate,
            Limits::default(),
        );
        tally.passages += passages.map_or(0, |passages| passages.len());
    }
    tally.cut += cpu_time() - start;
    extracted + (cpu_time() - start)
}

/// The processor's time this thread has had.
#[cfg(unix)]
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(unix))]
fn cpu_time() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

fn read(name: &str, format: Format, bytes: &[u8]) -> Vec<Result<Extracted, Error>> {
    match format {
        Format::JsonLines => Lines::new(name, bytes)
            .map(|line| line.map(|record| record.document))
            .collect(),
        Format::Pdf => vec![pdf::extract(bytes)],
        Format::Text | Format::Markdown | Format::Html | Format::Code => {
            vec![extract(name, bytes)]
        }
        _ => Vec::new(),
    }
}

fn print(out: &mut impl Write, mime: &str, tally: &Tally) -> io::Result<()> {
    let rate = |bytes: usize, took: Duration| bytes as f64 / 1e6 / took.as_secs_f64().max(1e-9);
    writeln!(
        out,
        "{mime:18} {:6} files {:8.1} MB -> {:8.1} MB text, {:7} passages of {:5} bytes, \
         {:6} errors {:?}; extract {:6.0} MB/s, cut {:6.0} MB/s, both {:6.0} MB/s",
        tally.files,
        tally.bytes as f64 / 1e6,
        tally.text_bytes as f64 / 1e6,
        tally.passages,
        tally.text_bytes / tally.passages.max(1),
        tally.errors,
        tally.reasons,
        rate(tally.bytes, tally.extract),
        rate(tally.text_bytes, tally.cut),
        rate(tally.bytes, tally.extract + tally.cut),
    )
}

fn show(out: &mut impl Write, file: &str) -> io::Result<()> {
    let bytes = read_stable(Path::new(file), FILE_BYTES_MAX)
        .map_err(io::Error::other)?
        .bytes;
    let format = Format::of(file, &bytes).map_err(io::Error::other)?;
    for document in read(file, format, &bytes) {
        let document = document.map_err(io::Error::other)?;
        writeln!(
            out,
            "title {:?}, metadata {:?}, replaced {}",
            document.title, document.metadata, document.replaced
        )?;
        let passages = cut(
            &document.text,
            &document.blocks,
            &Estimate,
            Limits::default(),
        );
        for passage in passages.map_err(io::Error::other)? {
            let text = &document.text[passage.byte_start..passage.byte_end];
            let tokens = ginnel_ingest::estimate::estimate_tokens(text);
            writeln!(out, "\n──── {} · {tokens} tokens\n{text}", passage.position)?;
        }
    }
    Ok(())
}
