//! The HTTP check over TLS, against real servers in this process: whom it trusts, and what it
//! says of each that it does not.

#![cfg(feature = "https")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use steadfast::{
    Check, CheckOutcome, CheckRun, Deadline, FailureClass,
    check::{HttpCheck, http_get},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, pem::PemObject},
    },
};

/// Longest that a run may take; no claim.
const PATIENCE: Duration = Duration::from_secs(30);

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// The years between which a certificate is valid.
type Years = (i32, i32);

const TODAY: Years = (2020, 2090);
const LONG_AGO: Years = (2020, 2021);

/// What a server shows: a certificate for these names, signed by this authority.
fn shows(authority: &Authority, names: &[&str], (from, to): Years) -> Arc<ServerConfig> {
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key);
    Arc::new(config.expect("a pair"))
}

/// Reads a request and answers it with 200.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = [0; 1024];
    if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
    }
}

/// A server that shows what it is told to; without, it speaks plain HTTP.
async fn server() -> (SocketAddr, watch::Sender<Option<Arc<ServerConfig>>>) {
    let (shown, showing) = watch::channel(None::<Arc<ServerConfig>>);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let config = showing.borrow().clone();
            tokio::spawn(async move {
                let Some(config) = config else {
                    return answer(socket).await;
                };
                if let Ok(stream) = TlsAcceptor::from(config).accept(socket).await {
                    answer(stream).await;
                }
            });
        }
    });
    (address, shown)
}

async fn run(check: &HttpCheck) -> CheckOutcome {
    #[expect(clippy::disallowed_methods, reason = "real sockets wait in real time")]
    let now = std::time::Instant::now();
    check.run(CheckRun::new(Deadline::at(now + PATIENCE))).await
}

fn asks(host: &str, address: SocketAddr) -> HttpCheck {
    http_get(format!("https://{host}:{}/healthz", address.port())).expect("a URL")
}

#[track_caller]
fn fails(outcome: &CheckOutcome, class: FailureClass, said: &str) {
    assert_eq!(outcome.class(), Some(class), "{outcome:?}");
    assert!(outcome.message().contains(said), "{outcome:?}");
}

/// Goal: a certificate of an authority that is trusted passes, by name and by address; each
/// fault is said in words of its own, and belongs to this instance.
#[tokio::test]
async fn each_fault_of_a_certificate_is_told_apart() {
    let ours = authority("ours");
    let (address, shown) = server().await;
    let trusting = |host: &str| asks(host, address).trusting(ours.pem()).expect("PEM");
    let by_name = trusting("localhost");

    shown.send_replace(Some(shows(&ours, &["localhost", "127.0.0.1"], TODAY)));
    for check in [&by_name, &trusting("127.0.0.1")] {
        let outcome = run(check).await;
        assert_eq!(outcome.class(), None, "{outcome:?}");
    }
    let untrusting = run(&asks("localhost", address)).await;
    assert!(
        untrusting.class().is_some_and(|it| !it.is_shared()),
        "{untrusting:?}"
    );

    shown.send_replace(Some(shows(&ours, &["localhost"], LONG_AGO)));
    fails(&run(&by_name).await, FailureClass::Tls, "ran out");
    shown.send_replace(Some(shows(&ours, &["localhost"], (2090, 2091))));
    fails(&run(&by_name).await, FailureClass::Tls, "is valid in");
    shown.send_replace(Some(shows(&ours, &["shop.test"], TODAY)));
    let told = "is for shop.test, and not for localhost";
    fails(&run(&by_name).await, FailureClass::Tls, told);
    for stranger in [authority("another"), authority("ours")] {
        shown.send_replace(Some(shows(&stranger, &["localhost"], TODAY)));
        fails(&run(&by_name).await, FailureClass::Tls, "signed by nobody");
    }
    shown.send_replace(None);
    fails(
        &run(&by_name).await,
        FailureClass::Misconfigured,
        "http:// there?",
    );
}

/// Goal: a check does not pass on the strength of an old session.
#[tokio::test]
async fn a_certificate_is_looked_at_each_time() {
    let ours = authority("ours");
    let (address, shown) = server().await;
    let check = asks("localhost", address)
        .trusting(ours.pem())
        .expect("PEM");
    let good = shows(&ours, &["localhost"], TODAY);
    shown.send_replace(Some(Arc::clone(&good)));
    for _ in 0..3 {
        assert_eq!(run(&check).await.class(), None);
    }
    // The same store of sessions and keys of tickets, with another certificate.
    let mut expired = ServerConfig::clone(&shows(&ours, &["localhost"], LONG_AGO));
    expired.session_storage = Arc::clone(&good.session_storage);
    expired.ticketer = Arc::clone(&good.ticketer);
    shown.send_replace(Some(Arc::new(expired)));
    fails(&run(&check).await, FailureClass::Tls, "ran out");
}

/// Goal: whoever asks a TLS port in plain HTTP is told that this is no HTTP.
#[tokio::test]
async fn plain_http_at_a_tls_port_is_a_wrong_setting() {
    let (address, shown) = server().await;
    shown.send_replace(Some(shows(&authority("ours"), &["localhost"], TODAY)));
    let check = http_get(format!("http://{address}/healthz")).expect("a URL");
    fails(
        &run(&check).await,
        FailureClass::Misconfigured,
        "not in HTTP",
    );
}

/// Goal: somebody who accepts and says nothing is stuck, as without TLS.
#[tokio::test]
async fn a_handshake_that_hangs_is_stuck() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let check = asks("localhost", address)
        .trusting(authority("ours").pem())
        .expect("PEM");
    let mut time = Duration::from_millis(300);
    let outcome = loop {
        #[expect(clippy::disallowed_methods, reason = "real sockets wait in real time")]
        let soon = std::time::Instant::now() + time;
        let outcome = check.run(CheckRun::new(Deadline::at(soon))).await;
        // A machine that was too slow to connect within it is given more.
        if !outcome
            .message()
            .ends_with("no connection before the deadline")
            || time > PATIENCE
        {
            break outcome;
        }
        time *= 2;
    };
    fails(
        &outcome,
        FailureClass::Stuck,
        "no answer before the deadline",
    );
}

#[test]
fn what_is_no_authority_is_a_fault_of_the_configuration() {
    let check = || http_get("https://payments.internal/healthz").expect("a URL");
    let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    for (pem, said) in [("", "no certificate in PEM"), (broken, "certificate 1: ")] {
        let error = check().trusting(pem).expect_err(pem).to_string();
        assert!(error.contains(said), "{error}");
    }
    let plain = http_get("http://payments.internal/healthz").expect("a URL");
    let error = plain
        .trusting(authority("ours").pem())
        .expect_err("no TLS")
        .to_string();
    assert!(error.contains("it is http://"), "{error}");
}
