//! The example, as its user runs it.

use std::{path::Path, sync::Arc};

use example_testing::{Caller, Example, eventually};
use rcgen::{CertifiedKey, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

fn write(directory: &Path) -> CertifiedKey<KeyPair> {
    let pair = rcgen::generate_simple_self_signed(vec!["shop.test".to_owned()]);
    let pair = pair.expect("a certificate");
    std::fs::write(directory.join("crt"), pair.cert.pem()).expect("written");
    std::fs::write(directory.join("key"), pair.signing_key.serialize_pem()).expect("written");
    pair
}

/// Asks over TLS, and trusts this certificate alone.
async fn ask(address: String, trusted: &CertifiedKey<KeyPair>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots
        .add(trusted.cert.der().clone())
        .expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("shop.test").expect("a name");
    let socket = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await?;
    let request = b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn it_speaks_tls_reads_new_certificates_and_serves_the_inside_plainly() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = write(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (crt, key) = (path("crt"), path("key"));
    let environment = [("TLS_CERT", &*crt), ("TLS_KEY", &*key)];
    let server = Example::start(env!("CARGO_BIN_EXE_tls"), &environment).await;
    let address = server.url().trim_start_matches("https://").to_owned();
    let answer = ask(address.clone(), &first).await.expect("an answer");
    assert!(answer.ends_with("hello\n"), "{answer}");

    let inside = eventually("the second line", || async {
        let said = server.said();
        Some(said.lines().nth(1)?.strip_prefix("inside on ")?.to_owned())
    })
    .await;
    let inside = Caller::new(&inside);
    assert_eq!(inside.get("/").await.text(), "inside\n");
    assert_eq!(inside.get("/ready/").await.text(), "ready\n");

    let second = write(directory.path());
    eventually("the new certificate", || async {
        ask(address.clone(), &second).await.ok()
    })
    .await;
    assert!(ask(address.clone(), &first).await.is_err());
}
