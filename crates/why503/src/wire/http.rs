//! One `GET` at an administration page, with a bound on time and bytes.

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, header};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::{Fault, Stream};

/// Most bytes of one page; `/config_dump` of a mesh's Envoy is the longest that is asked for.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) text: String,
    /// Whether more came than is read.
    pub(crate) is_cut: bool,
}

/// Asks for a page over a stream that stands.
pub(crate) async fn get(
    stream: impl Stream + 'static,
    host: &str,
    path: &str,
    until: Instant,
) -> Result<Page, Fault> {
    let asked = async {
        let foreign = |error: hyper::Error| Fault::Foreign(error.to_string());
        let shaken = hyper::client::conn::http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await;
        let (mut sender, connection) = shaken.map_err(foreign)?;
        let request = Request::get(path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, "why503")
            // Some guard their administration against pages of a browser by it.
            .header(header::ORIGIN, format!("http://{host}"))
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| Fault::Foreign(error.to_string()))?;
        let answered = async {
            let answer = sender.send_request(request).await.map_err(foreign)?;
            let status = answer.status().as_u16();
            let mut body = answer.into_body();
            let mut bytes = Vec::new();
            let mut is_cut = false;
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(foreign)?;
                let data = frame.data_ref().map_or(&[][..], |it| &it[..]);
                let room = BODY_MAX - bytes.len();
                bytes.extend_from_slice(&data[..data.len().min(room)]);
                is_cut |= data.len() > room;
                if is_cut {
                    break;
                }
            }
            Ok(Page {
                status,
                text: String::from_utf8_lossy(&bytes).into_owned(),
                is_cut,
            })
        };
        tokio::pin!(answered);
        tokio::pin!(connection);
        // The connection carries the answer; when it ends first, what it brought is there.
        tokio::select! {
            page = &mut answered => page,
            _ = &mut connection => answered.await,
        }
    };
    timeout_at(until, asked).await.unwrap_or(Err(Fault::Silent))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn page(answer: &'static [u8], repeat: usize) -> Result<Page, Fault> {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            let mut request = [0; 4096];
            let _ = theirs.read(&mut request).await;
            for _ in 0..repeat {
                let _ = theirs.write_all(answer).await;
            }
        });
        let until = crate::clock::now() + Duration::from_secs(5);
        get(ours, "localhost", "/x", until).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_is_read_and_a_stranger_is_told() {
        let found = page(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 1).await;
        let expected = Page {
            status: 200,
            text: "ok".to_owned(),
            is_cut: false,
        };
        assert_eq!(found, Ok(expected));
        assert!(matches!(
            page(b"220 smtp\r\n", 1).await,
            Err(Fault::Foreign(_))
        ));
        assert!(page(b"", 1).await.is_err());
        // Headers without an end.
        assert!(page(b"x-more: 1234567890\r\n", 20_000).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_without_an_end_is_cut() {
        let found = page(b"HTTP/1.0 200 OK\r\n\r\n", 1_000_000)
            .await
            .expect("a page");
        assert!(found.is_cut && found.text.len() == BODY_MAX);
    }
}
