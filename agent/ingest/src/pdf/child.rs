//! Reads a PDF in a process of its own: our own program, started again with a
//! command that calls [`main`].
//!
//! The parent gives it the file on standard input and takes the text from
//! standard output. Whatever the file does to its reader, it ends with the
//! child: memory, processor time and files are limited by the system, and the
//! time by the parent, which ends the child, and believes nothing it says
//! before it has checked it. On systems without such limits (Windows) those of
//! time and of the answer's length hold.

mod confine;

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::document::{Block, Extracted, is_sound};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::limits::{ANSWER_BYTES_MAX, FILE_BYTES_MAX, PDF_MEMORY_MAX};

/// The child's stack. Deeper nesting than this holds is no document's.
const STACK_BYTES: usize = 64 << 20;

/// How much is kept of what the child says on standard error, to tell why it
/// ended.
const COMPLAINT_BYTES_MAX: u64 = 64 << 10;

/// What of the parent's environment the child needs to start: where the
/// system's libraries are.
const ENVIRONMENT: [&str; 3] = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SystemRoot"];

/// What the child says on standard output, as JSON.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Read(Document),
    Refused { kind: ErrorKind, reason: String },
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    title: Option<String>,
    text: String,
    metadata: Map<String, Value>,
    blocks: Vec<Block>,
}

/// The child's side: takes limits on itself, reads a PDF from `input` to its
/// end and writes its text to `output`.
///
/// # Errors
///
/// When the input cannot be read or the output not be written.
pub fn main(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    confine::confine();
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    input.take(limit).read_to_end(&mut bytes)?;
    let reader = thread::Builder::new()
        .name("pdf".into())
        .stack_size(STACK_BYTES)
        .spawn(move || super::extract(&bytes))?;
    let answer = match reader.join() {
        Ok(Ok(read)) => Answer::Read(Document {
            title: read.title,
            text: read.text,
            metadata: read.metadata,
            blocks: read.blocks,
        }),
        Ok(Err(error)) => Answer::Refused {
            kind: error.kind(),
            reason: error.reason().to_owned(),
        },
        Err(panic) => Answer::Refused {
            kind: ErrorKind::Invalid,
            reason: format!("its reader failed: {}", said(&*panic)),
        },
    };
    serde_json::to_writer(&mut *output, &answer)?;
    output.flush()
}

/// What a panic says.
fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it did not say why")
}

/// The parent's side: starts `program` with `arguments`, which must lead to
/// [`main`], gives it the PDF and waits for its text, for `time_max` at most.
/// Blocks; call it from a thread that may.
///
/// # Errors
///
/// Those of [`super::extract`], and: `TooLarge` if a limit of time, memory or
/// length was reached, `Invalid` if the reader broke down over the file,
/// `Unreadable` if it could not be started.
pub fn run(
    program: &Path,
    arguments: &[&str],
    bytes: &[u8],
    time_max: Duration,
) -> Result<Extracted, Error> {
    let kept = std::env::vars_os().filter(|(name, _)| ENVIRONMENT.iter().any(|kept| name == kept));
    let started = Command::new(program)
        .args(arguments)
        // What a bad file could make the child tell: keys of the parent.
        .env_clear()
        .envs(kept)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| {
        let reason = format!("its reader could not be started: {error}");
        failed(ErrorKind::Unreadable, &reason)
    })?;
    let heard = listen(&mut child, bytes, time_max);
    // It has ended, or nobody listens to it any more.
    let _ = child.kill();
    let status = child.wait();
    let Some(heard) = heard else {
        let reason = format!("it took longer than {} s", time_max.as_secs_f32());
        return Err(failed(ErrorKind::TooLarge, &reason));
    };
    if heard.answer.len() > ANSWER_BYTES_MAX {
        let reason = format!("its text is too long, limit={ANSWER_BYTES_MAX}");
        return Err(failed(ErrorKind::TooLarge, &reason));
    }
    match serde_json::from_slice(&heard.answer) {
        Ok(Answer::Read(document)) => believe(document),
        Ok(Answer::Refused { kind, reason }) if kind == ErrorKind::Empty => {
            Err(Error::new(kind, reason))
        }
        Ok(Answer::Refused { kind, reason }) => Err(failed(kind, &reason)),
        Err(_) => Err(explain(status, &heard.complaint)),
    }
}

/// What a child said.
struct Heard {
    answer: Vec<u8>,
    complaint: Vec<u8>,
}

/// Gives the child the file and takes what it says until it is silent; none if
/// that takes too long. The threads end when the child does.
fn listen(child: &mut Child, bytes: &[u8], time_max: Duration) -> Option<Heard> {
    let deadline = Instant::now().checked_add(time_max)?;
    let (input, output) = (child.stdin.take(), child.stdout.take()?);
    let errors = child.stderr.take()?;
    thread::scope(|scope| {
        scope.spawn(move || {
            // It need not read all: what it says tells.
            input.map(|mut input| input.write_all(bytes))
        });
        let answer = channel(scope, move || {
            let limit = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
            read_start(output, limit.saturating_add(1))
        });
        let complaint = channel(scope, move || {
            let mut errors = errors;
            let start = read_start(&mut errors, COMPLAINT_BYTES_MAX);
            let _ = io::copy(&mut errors, &mut io::sink());
            start
        });
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let heard = answer.recv_timeout(left(deadline)).ok().and_then(|answer| {
            let is_whole = answer.len() <= ANSWER_BYTES_MAX;
            let complaint = if is_whole {
                complaint.recv_timeout(left(deadline)).ok()?
            } else {
                Vec::new()
            };
            Some(Heard { answer, complaint })
        });
        let _ = child.kill();
        heard
    })
}

/// Runs `read` on a thread of its own.
fn channel<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    read: impl FnOnce() -> Vec<u8> + Send + 'scope,
) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    scope.spawn(move || sender.send(read()));
    receiver
}

fn read_start(from: impl Read, limit: u64) -> Vec<u8> {
    let mut start = Vec::new();
    // What was read before an error is what there is.
    let _ = from.take(limit).read_to_end(&mut start);
    start
}

/// Checks what the child says: it has read a file that may have taken it over.
fn believe(document: Document) -> Result<Extracted, Error> {
    if !is_sound(&document.text, &document.blocks) {
        return Err(failed(ErrorKind::Invalid, "its reader's answer is wrong"));
    }
    Ok(Extracted {
        title: document.title,
        mime: Format::Pdf.mime(),
        text: document.text,
        metadata: document.metadata,
        blocks: document.blocks,
        replaced: 0,
    })
}

/// Why a child ended without an answer.
fn explain(status: io::Result<ExitStatus>, complaint: &[u8]) -> Error {
    let complaint = String::from_utf8_lossy(complaint);
    if complaint.contains("memory allocation of") {
        let reason = format!("it needs more memory, limit={PDF_MEMORY_MAX}");
        return failed(ErrorKind::TooLarge, &reason);
    }
    if complaint.contains("has overflowed its stack") {
        return failed(ErrorKind::TooLarge, "it is nested too deeply");
    }
    let status = match status {
        Ok(status) if confine::is_out_of_time(status) => {
            return failed(ErrorKind::TooLarge, "it takes too much processor time");
        }
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let reason = format!("its reader ended without an answer, {status}");
    failed(ErrorKind::Invalid, &reason)
}

fn failed(kind: ErrorKind, reason: &str) -> Error {
    Error::new(kind, format!("the PDF could not be read: {reason}"))
}

#[cfg(all(test, unix))]
mod tests;
