//! TLS over real sockets: what is spoken is agreed on, handshakes are bounded and drained, and
//! certificates change without a restart.

#![cfg(feature = "axum")]

mod common;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use bytes::Bytes;
use common::{PATIENCE, leaver::Server, soon, until};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, KeyPair};
use steadfast::{Connections, Drain, Guard, Tls};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};

fn certified() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(vec!["shop.test".to_owned()]).expect("a certificate")
}

fn pem(pair: &CertifiedKey<KeyPair>) -> (String, String) {
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}

/// A client that trusts these certificates and nothing else.
fn client(trusted: &[&CertifiedKey<KeyPair>], protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.cert.der().clone()).expect("a certificate");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connected")
}

async fn shake(client: &TlsConnector, socket: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("shop.test").expect("a name");
    soon("the handshake", client.connect(name, socket)).await
}

/// Which certificate a new connection gets.
async fn shown(client: &TlsConnector, address: SocketAddr) -> CertificateDer<'static> {
    let stream = shake(client, connect(address).await).await.expect("shaken");
    let chain = stream.get_ref().1.peer_certificates().expect("a chain");
    chain[0].clone().into_owned()
}

async fn start(tls: &Tls, connections: Connections) -> Server {
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .idle_linger(Duration::from_millis(100))
        .grace(PATIENCE);
    let guard = Guard::builder().connections(connections).drain(drain);
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "done"
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow", get(slow));
    let serve = |guard: Guard, listener| {
        let app = guard.protect(app);
        guard.server().listen_tls(listener, tls, app).run()
    };
    Server::by(guard, serve).await
}

fn asking(path: &str) -> http::Request<Full<Bytes>> {
    let request = http::Request::get(format!("https://shop.test{path}"));
    let request = request.header("host", "shop.test").body(Full::default());
    request.expect("a request")
}

/// Goal: HTTP/2 where the client offers it, HTTP/1 otherwise, and both without any offer.
#[tokio::test]
async fn what_is_spoken_is_agreed_on() {
    let pair = certified();
    let (certificates, key) = pem(&pair);
    let tls = Tls::from_pem(certificates.as_bytes(), key.as_bytes()).expect("a pair");
    let server = start(&tls, Connections::default()).await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = shake(&client(&[&pair], offered), connect(server.address).await).await;
        let stream = stream.expect("shaken");
        assert_eq!(
            stream.get_ref().1.alpn_protocol(),
            agreed.map(str::as_bytes)
        );
        let answer = if agreed == Some("h2") {
            let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (mut sender, connection) = handshake.expect("HTTP/2");
            tokio::spawn(connection);
            sender.send_request(asking("/")).await
        } else {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .expect("HTTP/1");
            tokio::spawn(connection);
            sender.send_request(asking("/")).await
        };
        let body = answer.expect("an answer").into_body().collect().await;
        assert_eq!(body.expect("a body").to_bytes(), "hello");
    }
    let plain = common::raw(server.address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    // Whatever is said to it, it is no answer of the application.
    assert!(
        !soon("its end", tokio::spawn(plain))
            .await
            .is_ok_and(|said| said.contains("hello"))
    );
    server.control.begin_drain("a test");
    assert!(server.report().await.is_clean());
}

/// Goal: a peer that does not finish its handshake is gone by the bound of a first request, and
/// keeps nobody else waiting.
#[tokio::test]
async fn a_handshake_is_bounded() {
    let pair = certified();
    let (certificates, key) = pem(&pair);
    let tls = Tls::from_pem(certificates.as_bytes(), key.as_bytes()).expect("a pair");
    let client = client(&[&pair], &[]);
    let mut bound = Duration::from_millis(500);
    let (server, peers) = loop {
        let server = start(&tls, Connections::default().first_request(bound)).await;
        let begun = Instant::now();
        let silent = connect(server.address).await;
        let mut halfway = connect(server.address).await;
        // The first bytes of a ClientHello that says it is longer.
        halfway.write_all(&[22, 3, 1, 2, 0, 1]).await.expect("sent");
        let shaken = shake(&client, connect(server.address).await).await;
        // Later than that they may have gone, and it shows nothing.
        if Instant::now() < begun + bound {
            shaken.expect("shaken");
            break (server, [silent, halfway]);
        }
        bound *= 2;
        assert!(bound < PATIENCE, "it waits until they have gone");
    };
    for mut peer in peers {
        let mut rest = Vec::new();
        let _ = soon("its end", peer.read_to_end(&mut rest)).await;
    }
    server.control.begin_drain("a test");
    assert!(server.report().await.is_clean());
}

/// Goal: a handshake that is under way when the process leaves, and a request behind it, come
/// to their end; so does one that runs; and a peer that does not go on holds nothing up.
#[tokio::test]
async fn handshakes_are_drained() {
    let pair = certified();
    let (certificates, key) = pem(&pair);
    let tls = Tls::from_pem(certificates.as_bytes(), key.as_bytes()).expect("a pair");
    let server = start(&tls, Connections::default()).await;
    let client = client(&[&pair], &["http/1.1"]);
    let stream = shake(&client, connect(server.address).await)
        .await
        .expect("shaken");
    let (mut running, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/1");
    tokio::spawn(connection);
    let running = tokio::spawn(running.send_request(asking("/slow")));
    let shedder = server.control.shedder().clone();
    until("it to run", || shedder.in_flight() == 1).await;
    let (queued, _silent) = (connect(server.address).await, connect(server.address).await);
    server.control.begin_drain("a test");
    let mut stream = shake(&client, queued)
        .await
        .expect("shaken while it leaves");
    let request = b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer))
        .await
        .expect("an end in order");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
        "{answer}"
    );
    let answer = running.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), 200);
    let report = server.report().await;
    assert!(report.is_clean() && !report.forced, "{report}");
}

/// Goal: files that change are read again while it serves; what is half there, or no pair,
/// changes nothing.
#[tokio::test]
async fn certificates_change_without_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let (crt, key) = (
        directory.path().join("tls.crt"),
        directory.path().join("tls.key"),
    );
    let (first, second, third) = (certified(), certified(), certified());
    let write = |certificates: &CertifiedKey<KeyPair>, signed: &CertifiedKey<KeyPair>| {
        std::fs::write(&crt, certificates.cert.pem()).expect("written");
        std::fs::write(&key, signed.signing_key.serialize_pem()).expect("written");
    };
    write(&first, &first);
    let tls = Tls::from_files(&crt, &key)
        .expect("a pair")
        .look_every(Duration::from_millis(20));
    let server = start(&tls, Connections::default()).await;
    let client = client(&[&first, &second, &third], &[]);
    assert_eq!(shown(&client, server.address).await, *first.cert.der());
    // A certificate whose key has not been written yet.
    write(&second, &first);
    assert!(tls.reload().is_err());
    assert_eq!(shown(&client, server.address).await, *first.cert.der());
    write(&second, &second);
    soon("the new certificate", async {
        while shown(&client, server.address).await != *second.cert.der() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    std::fs::write(&crt, "nonsense").expect("written");
    let fault = tls.reload().expect_err("no certificate");
    assert!(fault.to_string().contains("certificates"), "{fault}");
    let (certificates, key) = pem(&third);
    tls.replace(certificates.as_bytes(), key.as_bytes())
        .expect("a pair");
    assert_eq!(shown(&client, server.address).await, *third.cert.der());
    assert!(tls.replace(certificates.as_bytes(), b"").is_err());
    server.control.begin_drain("a test");
    assert!(server.report().await.is_clean());
}
