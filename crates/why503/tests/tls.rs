//! TLS and HTTP/2: what is wrong with a certificate is said, and the answer behind it is read.

#![allow(
    clippy::disallowed_methods,
    reason = "servers beside the test take real time"
)]

mod support;

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use http_body_util::Full;
use hyper::{Response, body::Bytes, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::Value;
use support::{json, verdict};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The year in which the certificate ends.
struct Ends(i32);

/// Serves a refusal of the library over TLS, in HTTP/2 if the client may, on a thread of its own.
fn serve(name: &str, ends: &Ends, status: u16) -> SocketAddr {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(ends.0, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the usual versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("they belong together");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            told.send(listener.local_addr().expect("an address"))
                .expect("the test waits");
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(acceptor.clone(), stream, status));
            }
        });
    });
    address.recv().expect("the server starts")
}

async fn answer(acceptor: TlsAcceptor, stream: tokio::net::TcpStream, status: u16) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |_| async move {
        let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
        *response.status_mut() = status.try_into().expect("a status");
        if status != 200 {
            let why = "cause=draining, id=\"0190f5c2\"";
            response
                .headers_mut()
                .insert("why-503", why.parse().expect("a value"));
        }
        Ok::<_, Infallible>(response)
    });
    let io = TokioIo::new(stream);
    // A client that goes early is none of the test's business.
    let _ = if h2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await
    } else {
        hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await
    };
}

fn ids(report: &Value) -> Vec<&str> {
    let all = report["findings"].as_array().expect("a list");
    all.iter().filter_map(|it| it["id"].as_str()).collect()
}

#[test]
fn the_answer_behind_a_bad_certificate_is_read_in_either_version() {
    let addr = serve("localhost", &Ends(2100), 503);
    for (arguments, version) in [
        (&["--http", "auto"], "HTTP/2.0"),
        (&["--http", "1"], "HTTP/1.1"),
    ] {
        let url = format!("https://localhost:{}/", addr.port());
        let (code, report) = json(&["-n", "1", arguments[0], arguments[1], &url]);
        assert_eq!((code, verdict(&report)), (10, "app.draining"), "{report:#}");
        assert_eq!(report["probes"][0]["version"], version);
        assert!(ids(&report).contains(&"tls.chain"), "{report:#}");
    }
}

#[test]
fn a_certificate_that_has_ended_or_is_for_others_is_a_finding_while_nothing_fails() {
    for (name, ends, host, id) in [
        ("localhost", Ends(2021), "localhost", "tls.expired"),
        ("shop.example", Ends(2100), "localhost", "tls.name"),
    ] {
        let addr = serve(name, &ends, 200);
        let (code, report) = json(&["-n", "1", &format!("https://{host}:{}/", addr.port())]);
        assert_eq!(report["probes"][0]["status"], 200, "{report:#}");
        let said = ids(&report);
        assert!(code == 13 && said.contains(&id), "{report:#}");
    }
}
