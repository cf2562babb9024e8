//! A bucket of R2, or of anything else that speaks S3.
//!
//! Which operations R2 takes: <https://developers.cloudflare.com/r2/api/s3/api/>

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, RetryConfig};
use rustls::RootCertStore;

use super::http::Http;

/// How often, and for how long, a request is tried again. A device whose push
/// fails tries again by itself, so nobody waits longer than a person would.
const RETRIES: usize = 6;
const RETRY_FOR: Duration = Duration::from_secs(30);

/// Where a bucket is, and what it asks for.
#[derive(Clone)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// Scheme, host and port; the bucket's name follows as the first step of
    /// the path.
    pub endpoint: String,
    /// `auto` for R2.
    pub region: String,
    /// Which key signs requests.
    pub access_key_id: String,
    /// What it signs them with.
    pub secret_access_key: String,
    /// Who may vouch for the endpoint.
    pub roots: RootCertStore,
}

impl S3 {
    pub(super) fn open(self) -> object_store::Result<Arc<AmazonS3>> {
        let is_plain = self.endpoint.starts_with("http://");
        let is_exposed = is_plain && !self.is_here();
        let store = AmazonS3Builder::new()
            .with_bucket_name(self.bucket)
            .with_endpoint(self.endpoint)
            .with_region(self.region)
            .with_access_key_id(self.access_key_id)
            .with_secret_access_key(self.secret_access_key)
            .with_virtual_hosted_style_request(false)
            .with_allow_http(is_plain)
            // TLS protects the bytes, or they never leave this machine; a
            // SHA-256 of each would cost four times the CPU of the BLAKE3 that
            // they are held to anyway.
            .with_unsigned_payload(!is_exposed)
            // R2 has no tags.
            .with_disable_tagging(true)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: RETRIES,
                retry_timeout: RETRY_FOR,
            })
            .with_http_connector(Http::new(self.roots))
            .build()?;
        Ok(Arc::new(store))
    }

    /// Whether the endpoint is on this machine.
    fn is_here(&self) -> bool {
        let endpoint: Option<http::Uri> = self.endpoint.parse().ok();
        let host = endpoint.as_ref().and_then(http::Uri::host);
        let host = host.unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let address = address.parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|it| it.to_canonical().is_loopback())
    }
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &"***")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_on_this_machine_is_known() {
        let at = |endpoint: &str| {
            let s3 = S3 {
                bucket: String::new(),
                endpoint: endpoint.to_owned(),
                region: String::new(),
                access_key_id: String::new(),
                secret_access_key: String::new(),
                roots: RootCertStore::empty(),
            };
            s3.is_here()
        };
        for here in [
            "http://127.0.0.1:8333",
            "http://[::1]:1",
            "http://localhost:9000",
        ] {
            assert!(at(here), "{here}");
        }
        for away in [
            "http://10.0.0.1:8333",
            "http://localhost.example",
            "",
            "http://[fe80::1]:1",
        ] {
            assert!(!at(away), "{away}");
        }
    }
}
