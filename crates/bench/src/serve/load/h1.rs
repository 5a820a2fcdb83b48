//! HTTP/1: one request after the other on a connection.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Body, Counter, unexpected};

/// Room for a head and a large body.
const ANSWER_MAX: usize = Body::Large.len() + 4096;

pub(super) async fn ask(mut socket: TcpStream, body: Body, mut counter: Counter) -> io::Result<()> {
    let request = format!("GET {} HTTP/1.1\r\nhost: bench\r\n\r\n", body.path());
    let mut bytes = vec![0; ANSWER_MAX];
    loop {
        socket.write_all(request.as_bytes()).await?;
        let (mut have, mut whole) = (0, None);
        while whole.is_none_or(|whole| have < whole) {
            match socket.read(&mut bytes[have..]).await? {
                0 => return Err(unexpected("the connection ended")),
                read => have += read,
            }
            if whole.is_none() {
                whole = length(&bytes[..have], body)?;
            }
        }
        if !counter.answered() {
            return Ok(());
        }
    }
}

/// Returns how long an answer is with its head, once that is there.
fn length(bytes: &[u8], body: Body) -> io::Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let expected = format!("\r\ncontent-length: {}", body.len());
    if !head.starts_with("http/1.1 200 ") || !head.contains(&expected) {
        return Err(unexpected(head));
    }
    Ok(Some(end + 4 + body.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_length() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(length(&whole[..30], Body::Small).expect("well"), None);
        let end = length(&whole[..40], Body::Small).expect("well");
        assert_eq!(end, Some(whole.len()));
        length(b"HTTP/1.1 503 No\r\n\r\n", Body::Small).expect_err("refused");
    }
}
