//! HTTP upstreams, their certificates, and names.

use std::{io::Write, net::TcpListener, sync::Arc};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{App, doctor};

/// An HTTPS server whose certificate ended then; it lasts as long as the test's process.
fn https(name: &str, last_year: i32) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(last_year, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], secret)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = StreamOwned::new(connection, stream);
            let _ = tls
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            let _ = tls.flush();
        }
    });
    format!("https://localhost:{port}/")
}

#[test]
fn an_expired_certificate_of_an_upstream_is_named() {
    let app = App::failing();
    doctor(&[&app.url(), "--upstream", &https("localhost", 2021)]).names("tls.expired");
    let told = doctor(&[&app.url(), "--upstream", &https("localhost", 2090)]);
    told.is_silent_on(&["tls.expir"]);
}

#[test]
fn an_upstream_that_fails_or_is_gone_is_named_and_one_that_is_well_is_not() {
    let (app, well, failing) = (App::failing(), App::well(), App::failing());
    let told = doctor(&[&app.url(), "--upstream", &well.url()]);
    told.is_silent_on(&["dep.", "tls.", "dns."]);
    doctor(&[&app.url(), "--upstream", &failing.url()]).names("dep.failing");
    let gone = App::well();
    let url = gone.url();
    drop(gone);
    doctor(&[&app.url(), "--upstream", &url]).names("dep.unreachable");
}

#[test]
fn a_name_that_is_gone_is_the_root() {
    let app = App::failing();
    let url = "postgres://app:geheim@why503-gone.invalid/shop";
    doctor(&[&app.url(), "--pg", url])
        .names("dns.fail")
        .keeps_secret("geheim");
}
