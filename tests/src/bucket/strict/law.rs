//! R2's rules that other servers do not have, as its documentation states
//! them in 2026:
//! <https://developers.cloudflare.com/r2/platform/limits/>,
//! <https://developers.cloudflare.com/r2/objects/multipart-objects/>,
//! <https://developers.cloudflare.com/r2/api/s3/api/>,
//! <https://developers.cloudflare.com/r2/api/error-codes/>.
//!
//! - Parts but the last have one size, of at least 5 MiB, and the last is not
//!   larger; looked at when the upload is completed. Numbers are 1 to 10,000.
//! - One write a second for each key, else 429. R2 does not say what counts
//!   as a write. Here it is each `PutObject`, `CopyObject`,
//!   `CompleteMultipartUpload` and `DeleteObject` that was not refused for
//!   this, whatever became of it; `DeleteObjects` is not looked into.
//! - What R2 has not built is 501: tags, grants, versions, locks, keys of the
//!   server, streamed signatures (`aws-chunked`), conditions of deletions.
//! - A body without a length, over 5 GiB, a key over 1,024 bytes or metadata
//!   over 8,192 bytes is refused.
//!
//! What R2 has and this cannot do is 501 too, so that nothing is taken for
//! done: conditions by time, those of `CreateMultipartUpload`, and those of
//! `CopyObject` on its destination.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};

use super::operation::{Operation, Target};
use super::refusal::Refusal;

/// Least size of a part but the last, in bytes.
const PART_LEAST: u64 = 5 * 1024 * 1024;

/// Highest number of a part.
const PARTS: u32 = 10_000;

/// Greatest body, in bytes.
const BODY: u64 = 5 * 1024 * 1024 * 1024;

/// Longest key, in bytes.
const KEY: usize = 1024;

/// Most metadata of a client's own, names and values, in bytes.
const METADATA: usize = 8192;

/// How far apart writes of a key must be.
const BETWEEN_WRITES: Duration = Duration::from_secs(1);

/// Uploads that may be open at once: their parts' sizes are remembered.
const UPLOADS: usize = 10_000;

/// Parameters that name what R2 has not built.
const NO_PARAMETERS: [&str; 27] = [
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "versionId",
    "versioning",
    "versions",
    "website",
    "x-amz-acl",
];

/// Fields that R2 has not built, by their beginnings.
const NO_FIELDS: [&str; 10] = [
    "x-amz-bypass-governance-retention",
    "x-amz-expected-bucket-owner",
    "x-amz-grant-",
    "x-amz-mfa",
    "x-amz-object-lock-",
    "x-amz-request-payer",
    "x-amz-server-side-encryption",
    "x-amz-source-expected-bucket-owner",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
];

/// Among these, the keys that a client sends along are built.
const OWN_KEYS: &str = "x-amz-server-side-encryption-customer-";

/// Conditions that servers without them would silently drop.
const CONDITIONS: [&str; 4] = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
];

/// What the rules must remember.
#[derive(Debug)]
pub(super) struct Law {
    /// How far apart writes of a key must be.
    pub(super) between_writes: Duration,
    /// The sizes of each open upload's parts, in bytes, by number.
    uploads: HashMap<String, BTreeMap<u32, u64>>,
    /// When each key, with its bucket, was last written.
    writes: HashMap<(String, String), Instant>,
}

impl Default for Law {
    fn default() -> Self {
        Self {
            between_writes: BETWEEN_WRITES,
            uploads: HashMap::new(),
            writes: HashMap::new(),
        }
    }
}

impl Law {
    /// Whether a request may be passed on, by its head.
    ///
    /// # Errors
    /// What R2 would answer.
    pub(super) fn admit(
        &mut self,
        target: &Target,
        headers: &HeaderMap,
        length: Option<u64>,
        now: Instant,
    ) -> Result<(), Refusal> {
        is_built(target, headers)?;
        is_within_limits(target, headers, length)?;
        let open = |upload| self.uploads.contains_key(upload);
        if let Some(upload) = target.upload()
            && !open(upload)
        {
            return Err(Refusal::no_upload(upload));
        }
        if target.operation == Operation::Create && self.uploads.len() >= UPLOADS {
            let message = format!("more than {UPLOADS} uploads are open");
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Refusal::new(status, "ServiceUnavailable", message));
        }
        self.takes_turn(target, now)
    }

    /// Remembers an upload, by the answer to its creation.
    pub(super) fn created(&mut self, answer: &[u8]) {
        let answer = String::from_utf8_lossy(answer);
        let upload = answer
            .split_once("<UploadId>")
            .and_then(|(_, rest)| rest.split_once("</UploadId>"));
        if let Some((upload, _)) = upload {
            self.uploads.insert(upload.to_owned(), BTreeMap::new());
        }
    }

    /// Remembers what a successful request with a body of this length did.
    pub(super) fn succeeded(&mut self, target: &Target, length: Option<u64>) {
        let Some(upload) = target.upload() else {
            return;
        };
        match target.operation {
            Operation::UploadPart | Operation::Copy => {
                let size = target.copied.or(length).unwrap_or(0);
                if let (Some(parts), Some(Ok(number))) =
                    (self.uploads.get_mut(upload), target.part())
                {
                    parts.insert(number, size);
                }
            }
            Operation::Complete | Operation::Abort => {
                self.uploads.remove(upload);
            }
            Operation::Put
            | Operation::Create
            | Operation::Get
            | Operation::Head
            | Operation::List
            | Operation::Delete
            | Operation::Other => {}
        }
    }

    /// Whether an upload may be completed from this list of parts.
    ///
    /// # Errors
    /// What R2 would answer.
    pub(super) fn complete(&self, target: &Target, list: &[u8]) -> Result<(), Refusal> {
        let upload = target.upload().unwrap_or_default();
        let Some(known) = self.uploads.get(upload) else {
            return Err(Refusal::no_upload(upload));
        };
        let list = String::from_utf8_lossy(list);
        let mut sizes = Vec::new();
        for rest in list.split("<PartNumber>").skip(1) {
            let number = rest.split('<').next().unwrap_or_default().trim();
            let size = number.parse().ok().and_then(|number| known.get(&number));
            let Some(&size) = size else {
                let message = format!("One or more parts could not be found: {number}");
                return Err(Refusal::invalid_part(message));
            };
            sizes.push(size);
        }
        let Some((&last, before)) = sizes.split_last() else {
            let message = "The list of parts is empty".to_owned();
            return Err(Refusal::bad("MalformedXML", message));
        };
        let Some(&first) = before.first() else {
            return Ok(());
        };
        if before.iter().any(|size| *size != first) || last > first {
            let message = "All non-trailing parts must have the same length.".to_owned();
            return Err(Refusal::invalid_part(message));
        }
        if first < PART_LEAST {
            let message = format!(
                "Your proposed upload is smaller than the minimum allowed object size: {first} B"
            );
            return Err(Refusal::bad("EntityTooSmall", message));
        }
        Ok(())
    }

    /// Lets keys be written once a second.
    fn takes_turn(&mut self, target: &Target, now: Instant) -> Result<(), Refusal> {
        let writes = match target.operation {
            Operation::Put | Operation::Complete | Operation::Delete => !target.key.is_empty(),
            Operation::Copy => target.upload().is_none(),
            Operation::Create
            | Operation::UploadPart
            | Operation::Abort
            | Operation::Get
            | Operation::Head
            | Operation::List
            | Operation::Other => false,
        };
        if !writes {
            return Ok(());
        }
        let between = self.between_writes;
        let recent = |at: &Instant| now.saturating_duration_since(*at) < between;
        self.writes.retain(|_, at| recent(at));
        let object = (target.bucket.clone(), target.key.clone());
        if self.writes.contains_key(&object) {
            let message = "Reduce your concurrent request rate for the same object.".to_owned();
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(Refusal::new(status, "TooManyRequests", message));
        }
        self.writes.insert(object, now);
        Ok(())
    }
}

/// Whether R2 has built all that is asked.
fn is_built(target: &Target, headers: &HeaderMap) -> Result<(), Refusal> {
    let named = target
        .query
        .names()
        .find(|name| NO_PARAMETERS.contains(name));
    if let Some(name) = named {
        let method = &target.method;
        return Err(Refusal::not_implemented(&format!(
            "{method} with parameter '{name}'"
        )));
    }
    for (name, value) in headers {
        let name = name.as_str();
        let value = String::from_utf8_lossy(value.as_bytes());
        let unknown = NO_FIELDS.iter().any(|field| name.starts_with(field));
        let refused = match name {
            _ if name.starts_with(OWN_KEYS) => false,
            "x-amz-acl" => value != "private",
            "x-amz-storage-class" => !["STANDARD", "STANDARD_IA"].contains(&&*value),
            "x-amz-content-sha256" => value.starts_with("STREAMING-"),
            "content-encoding" => value.contains("aws-chunked"),
            _ if name.starts_with("cf-copy-destination-if-") => true,
            _ if name.starts_with("x-amz-copy-source-if-") => target.upload().is_some(),
            _ => unknown || is_lost_condition(target, name),
        };
        if refused {
            return Err(Refusal::not_implemented(&format!(
                "Header '{name}' with value '{value}'"
            )));
        }
    }
    let part = target.operation == Operation::Copy && target.upload().is_some();
    if part && target.copied.is_none() {
        // R2 has it; here nobody would know the part's size.
        return Err(Refusal::not_implemented("UploadPartCopy without a range"));
    }
    let form = target.method == http::Method::POST && target.operation == Operation::Other;
    let form = form && target.key.is_empty() && !target.bucket.is_empty();
    if form {
        return Err(Refusal::not_implemented("PostObject"));
    }
    Ok(())
}

/// Whether a condition would not be looked at, here or at R2.
fn is_lost_condition(target: &Target, name: &str) -> bool {
    let by_time = name.ends_with("-since");
    CONDITIONS.contains(&name)
        && match target.operation {
            Operation::Get | Operation::Head => false,
            Operation::Put | Operation::Complete => by_time,
            Operation::Copy
            | Operation::Create
            | Operation::UploadPart
            | Operation::Abort
            | Operation::List
            | Operation::Delete
            | Operation::Other => true,
        }
}

fn is_within_limits(
    target: &Target,
    headers: &HeaderMap,
    length: Option<u64>,
) -> Result<(), Refusal> {
    if target.key.len() > KEY {
        let message = format!("The key is longer than {KEY} B: {}", target.key.len());
        return Err(Refusal::bad("InvalidObjectName", message));
    }
    match target.part() {
        Some(Ok(1..=PARTS)) | None => {}
        Some(Ok(_) | Err(_)) if target.operation == Operation::Get => {}
        Some(number) => {
            let message = format!(
                "Part number must be an integer between 1 and {PARTS}, inclusive: {number:?}"
            );
            return Err(Refusal::bad("InvalidArgument", message));
        }
    }
    let own = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("x-amz-meta-")?;
        Some(name.len() + value.len())
    });
    let own: usize = own.sum();
    if own > METADATA {
        let message =
            format!("Your metadata headers exceed the maximum allowed metadata size: {own} B");
        return Err(Refusal::bad("MetadataTooLarge", message));
    }
    let carries = [Operation::Put, Operation::UploadPart].contains(&target.operation);
    match length {
        None if carries => {
            let message = "You must provide the Content-Length HTTP header.".to_owned();
            let status = StatusCode::LENGTH_REQUIRED;
            Err(Refusal::new(status, "MissingContentLength", message))
        }
        Some(length) if length > BODY => {
            let message =
                format!("Your proposed upload exceeds the maximum allowed object size: {length} B");
            Err(Refusal::bad("EntityTooLarge", message))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
