//! One request and its answer, over HTTP/1 or HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, ext::ReasonPhrase};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use steadfast_diagnosis::Outcome;

use super::{
    Answer, BODY_MAX, Probe, Question,
    connect::{self, Stream},
    tls,
    watched::{Watch, Watched},
};
use crate::{cli::HttpVersion, clock};

/// A head is smaller; a server that goes on sends no HTTP that anybody could use.
const HEAD_MAX: usize = 128 * 1024;

/// More headers than any proxy sends.
const HEADERS_MAX: usize = 200;

/// Connects, asks and reads; writes into `probe` whatever is known at each step.
pub(super) async fn exchange(question: &Question<'_>, probe: &mut Probe) {
    let Some(stream) = connect::connect(question, probe).await else {
        return;
    };
    let (stream, h2) = if question.target.tls {
        let host = &question.target.host;
        match tls::handshake(stream, host, question.http, probe).await {
            Some(shaken) => shaken,
            None => return,
        }
    } else {
        (stream, question.http == HttpVersion::Two)
    };
    probe.outcome = Outcome::Silent;
    let watch = Watch::default();
    let begin = clock::now();
    let answered = talk(Watched::new(stream, watch.clone()), question, h2, probe);
    let failed = answered.await.err();
    let seen = watch.seen();
    probe.timing.first_byte = seen.first.map(|it| it.saturating_duration_since(begin));
    let Some(error) = failed.filter(|_| probe.answer.is_none()) else {
        return;
    };
    probe.outcome = if seen.bytes.is_empty() {
        Outcome::Closed
    } else if seen.bytes.starts_with(b"HTTP/1.") && !error.is_parse() {
        // It began to speak HTTP and was cut.
        Outcome::Closed
    } else {
        Outcome::NotHttp
    };
    let began = String::from_utf8_lossy(&seen.bytes).into_owned();
    probe.detail = Some(if began.is_empty() {
        error.to_string()
    } else {
        format!("{error}; it began with {began:?}")
    });
}

/// What is known of a probe that was cut.
pub(super) fn cut(probe: &mut Probe, wait: Duration) {
    if probe.answer.is_none() && probe.detail.is_none() {
        probe.detail = Some(format!("cut after {} s", wait.as_secs()));
    }
}

async fn talk(
    stream: Watched<Box<dyn Stream>>,
    question: &Question<'_>,
    h2: bool,
    probe: &mut Probe,
) -> Result<(), hyper::Error> {
    let io = TokioIo::new(stream);
    let asked = clock::wall();
    if h2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(HEAD_MAX as u32)
                .handshake(io)
                .await?;
        let sent = async {
            sender.ready().await?;
            let response = sender.send_request(request(question, true)).await?;
            read(response, asked, probe).await
        };
        alongside(connection, sent).await
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .http09_responses(false)
            .handshake(io)
            .await?;
        let sent = async {
            sender.ready().await?;
            let response = sender.send_request(request(question, false)).await?;
            read(response, asked, probe).await
        };
        alongside(connection, sent).await
    }
}

/// Drives the connection while the exchange runs; the exchange decides how it ends.
async fn alongside(
    connection: impl Future<Output = Result<(), hyper::Error>>,
    sent: impl Future<Output = Result<(), hyper::Error>>,
) -> Result<(), hyper::Error> {
    tokio::pin!(connection, sent);
    tokio::select! {
        biased;
        done = &mut sent => return done,
        ended = &mut connection => ended?,
    }
    sent.await
}

fn request(question: &Question<'_>, h2: bool) -> Request<Empty<Bytes>> {
    let target = question.target;
    let mut request = Request::new(Empty::new());
    let scheme = if target.tls { "https" } else { "http" };
    let uri = if h2 {
        format!("{scheme}://{}{}", target.authority(), target.path)
    } else {
        target.path.clone()
    };
    // A path that is no URI has been refused when the target was parsed.
    *request.uri_mut() = uri.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if !h2 && let Ok(host) = target.authority().parse() {
        headers.insert(header::HOST, host);
    }
    headers.insert(
        header::USER_AGENT,
        header::HeaderValue::from_static(USER_AGENT),
    );
    headers.insert(header::ACCEPT, header::HeaderValue::from_static("*/*"));
    headers.insert(
        header::ACCEPT_ENCODING,
        header::HeaderValue::from_static("identity"),
    );
    if let Some(basic) = target.userinfo.as_ref().and_then(basic) {
        headers.insert(header::AUTHORIZATION, basic);
    }
    for (name, value) in question.headers {
        headers.insert(name, value.clone());
    }
    request
}

fn basic(user: &crate::target::Userinfo) -> Option<header::HeaderValue> {
    let text = format!("{}:{}", user.user, user.password);
    let mut value: header::HeaderValue =
        format!("Basic {}", base64(text.as_bytes())).parse().ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let sign = SIGNS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { sign as char } else { '=' });
        }
    }
    text
}

async fn read(
    response: Response<Incoming>,
    asked: jiff::Timestamp,
    probe: &mut Probe,
) -> Result<(), hyper::Error> {
    let (head, mut body) = response.into_parts();
    let reason = head.extensions.get::<ReasonPhrase>();
    probe.outcome = Outcome::Answered(head.status.as_u16());
    let answer = probe.answer.insert(Answer {
        status: head.status.as_u16(),
        reason: reason.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned()),
        version: head.version,
        headers: head.headers,
        trailers: HeaderMap::new(),
        body: Vec::new(),
        asked,
        received: clock::wall(),
        whole: body.is_end_stream(),
    });
    while answer.body.len() < BODY_MAX {
        let Some(frame) = body.frame().await else {
            answer.whole = true;
            break;
        };
        match frame?.into_data() {
            Ok(data) => {
                let room = BODY_MAX - answer.body.len();
                answer.body.extend_from_slice(&data[..data.len().min(room)]);
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    answer.trailers = trailers;
                }
            }
        }
    }
    let grpc = |from: &HeaderMap| from.get("grpc-status")?.to_str().ok()?.parse().ok();
    if let Some(status) = grpc(&answer.trailers).or_else(|| grpc(&answer.headers)) {
        probe.outcome = Outcome::Grpc(status);
    }
    Ok(())
}

const USER_AGENT: &str = concat!("why503/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_agrees_with_its_test_vectors() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
