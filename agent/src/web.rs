//! The way to hosts of the web: over TLS by its public authorities, or plain.

use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

/// Connects to hosts of the web, each within `timeout`.
pub(crate) fn connector(timeout: Duration) -> HttpsConnector<HttpConnector> {
    let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(timeout));
    tcp.set_nodelay(true);
    HttpsConnectorBuilder::new()
        .with_tls_config(ginnel_certs::web::client_config(roots))
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp)
}
