//! `[bucket]`: where artifacts are kept, and how much of them.
//!
//! Keys of S3 never stand in the file. They are taken from the environment by
//! the names that Cloudflare and AWS give them: `R2_ACCESS_KEY_ID` and
//! `R2_SECRET_ACCESS_KEY`, or `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.

use std::fmt;
use std::path::{Path, PathBuf};

use ginnel_daemon::quantity::parse_bytes;
use http::Uri;

use super::Purpose;
use super::places::Places;

/// Bytes that a user's artifacts may have together, unless told otherwise.
const QUOTA: u64 = 100 << 30;

/// The folder in the state folder that is the bucket, unless told otherwise.
const FOLDER: &str = "bucket";

/// Where artifacts are kept, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketConfig {
    /// Where.
    pub at: BucketPlace,
    /// Bytes that a user's artifacts may have together.
    pub quota: u64,
}

/// Where artifacts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketPlace {
    /// In a folder.
    Folder(PathBuf),
    /// In R2, or anything else that speaks S3.
    S3(S3Place),
}

/// A bucket that speaks S3.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Place {
    /// Its name.
    pub bucket: String,
    /// Scheme, host and port.
    pub endpoint: String,
    /// `auto` for R2.
    pub region: String,
    /// Who may vouch for the endpoint beside the public authorities, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Which key signs requests.
    pub access_key_id: String,
    /// What it signs them with.
    pub secret_access_key: String,
}

impl fmt::Debug for S3Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Place")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("ca_file", &self.ca_file)
            .field("secret_access_key", &"***")
            .finish_non_exhaustive()
    }
}

/// What a URL says.
enum Url {
    Folder(PathBuf),
    S3(String),
}

pub(super) fn read(places: &mut Places<'_>, state: &Path, purpose: Purpose) -> BucketConfig {
    let url = places.find("bucket.url", None, parse_url);
    let endpoint = places.find("bucket.endpoint", None, parse_endpoint);
    let region = places.find("bucket.region", None, not_empty);
    let ca_file = places.find_path("bucket.ca_file");
    let quota = places.find("bucket.quota", None, parse_bytes);
    let folder = || BucketPlace::Folder(state.join(FOLDER));
    let at = match url {
        Some(Url::Folder(path)) => BucketPlace::Folder(path),
        Some(Url::S3(bucket)) if purpose != Purpose::Find => {
            let place = read_s3(places, bucket, endpoint, region, ca_file);
            place.map_or_else(folder, BucketPlace::S3)
        }
        Some(Url::S3(_)) | None => folder(),
    };
    let quota = quota.unwrap_or(QUOTA);
    BucketConfig { at, quota }
}

fn read_s3(
    places: &mut Places<'_>,
    bucket: String,
    endpoint: Option<String>,
    region: Option<String>,
    ca_file: Option<PathBuf>,
) -> Option<S3Place> {
    let endpoint = match endpoint {
        Some(endpoint) => Some(endpoint),
        None => endpoint_of_account(places),
    };
    if endpoint.is_none() {
        let what = "is missing; hint: set it to the server's URL, \
                    or for R2 set the variable R2_ACCOUNT_ID";
        places.mistakes.add("bucket.endpoint", what);
    }
    let access_key_id = key(places, "R2_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID");
    let secret_access_key = key(places, "R2_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY");
    Some(S3Place {
        bucket,
        endpoint: endpoint?,
        region: region.unwrap_or_else(|| "auto".into()),
        ca_file,
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
    })
}

/// <https://developers.cloudflare.com/r2/api/s3/api/#bucket-region>
fn endpoint_of_account(places: &mut Places<'_>) -> Option<String> {
    const NAME: &str = "R2_ACCOUNT_ID";
    let account = places.variable(NAME)?;
    let account = account.to_str().unwrap_or_default();
    let is_id = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_id {
        let what = "is no account id; hint: it stands in the dashboard, beside the bucket";
        places.mistakes.add(NAME, what);
        // One mistake is enough.
        return Some(String::new());
    }
    Some(format!("https://{account}.r2.cloudflarestorage.com"))
}

/// A key, whose text is never repeated.
fn key(places: &mut Places<'_>, of_r2: &'static str, of_aws: &'static str) -> Option<String> {
    let (name, text) = match (places.variable(of_r2), places.variable(of_aws)) {
        (Some(text), _) => (of_r2, text),
        (None, Some(text)) => (of_aws, text),
        (None, None) => {
            let what = format_args!(
                "is missing, which a bucket of s3:// needs; hint: set it, or {of_aws}"
            );
            places.mistakes.add(of_r2, what);
            return None;
        }
    };
    let text = text.to_str().map(str::trim).unwrap_or_default();
    let is_key = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_key {
        places
            .mistakes
            .add(name, "is no key: it has to be printable ASCII");
        return None;
    }
    Some(text.to_owned())
}

fn parse_url(text: &str) -> Result<Url, String> {
    if let Some(path) = text.strip_prefix("file://") {
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            return Err(format!(
                "is no absolute path; hint: write file:///path, value={text:?}"
            ));
        }
        return Ok(Url::Folder(path));
    }
    let Some(bucket) = text.strip_prefix("s3://") else {
        return Err(format!(
            "is neither s3://BUCKET nor file:///PATH, value={text:?}"
        ));
    };
    let bucket = bucket.trim_end_matches('/');
    // https://developers.cloudflare.com/r2/buckets/create-buckets/
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
    };
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(allowed) {
        return Err(format!(
            "names no bucket: 3 to 63 of a-z, 0-9, - and dots, value={text:?}"
        ));
    }
    Ok(Url::S3(bucket.to_owned()))
}

fn parse_endpoint(text: &str) -> Result<String, String> {
    let wrong = || format!("is no URL of a server, such as https://s3.example.com, value={text:?}");
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().ok_or_else(wrong)?;
    if !is_web || !is_bare || authority.as_str().contains('@') {
        return Err(wrong());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn not_empty(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty".into()),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket_or_a_folder() {
        assert!(matches!(parse_url("s3://models"), Ok(Url::S3(name)) if name == "models"));
        assert!(
            matches!(parse_url("file:///srv/b"), Ok(Url::Folder(path)) if path == Path::new("/srv/b"))
        );
        for text in [
            "",
            "s3://",
            "s3://ab",
            "s3://a/b",
            "file://b",
            "/srv/b",
            "https://x",
            "s3://A-b",
        ] {
            assert!(parse_url(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_endpoint("http://127.0.0.1:8333/").as_deref(),
            Ok("http://127.0.0.1:8333")
        );
        for text in [
            "",
            "host",
            "ftp://host",
            "https://h/path",
            "https://k:s@h",
            "https://h?x",
        ] {
            assert!(parse_endpoint(text).is_err(), "{text}");
        }
    }
}
