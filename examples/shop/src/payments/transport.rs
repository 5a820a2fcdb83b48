//! What the payments service is asked over: HTTP, or HTTPS with the roots of this host, which
//! are those that the check trusts (`SSL_CERT_FILE` names others).

use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore, crypto::ring};

pub(super) type Transport = HttpsConnector<HttpConnector>;

pub(super) fn new() -> Transport {
    let mut roots = RootCertStore::empty();
    // A host without any can still ask over HTTP, and the check says what is missing.
    let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS 1.2 and 1.3 need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .build()
}
