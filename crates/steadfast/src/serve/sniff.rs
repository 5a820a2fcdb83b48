//! Which protocol a connection speaks, told by its first bytes.
//!
//! An HTTP/2 connection begins with a preface of 24 bytes that no HTTP/1 request begins
//! with. They are read here and not by hyper-util, whose sniffing ends a connection as soon
//! as a drain begins, before it has read what is there.

use std::{future::poll_fn, io, task::ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::{
    io::{Io, Replay},
    state::Protocol,
};

const PREFACE: &[u8; Replay::LEN] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is clear what is spoken; `None` if the peer closed before.
pub(super) async fn sniff<I>(io: &mut Io<I>) -> io::Result<Option<Protocol>>
where
    I: AsyncRead + Unpin + 'static,
{
    poll_fn(|cx| {
        loop {
            let mut bytes = [0; Replay::LEN];
            let to = io.replay().to;
            let mut buf = ReadBuf::new(&mut bytes[to..]);
            ready!(io.poll_fill(cx, &mut buf))?;
            let read = buf.filled().len();
            if read == 0 {
                return Ok(None).into();
            }
            let replay = io.replay();
            replay.bytes[to..to + read].copy_from_slice(&bytes[to..to + read]);
            replay.to += read;
            if let Some(protocol) = spoken(&replay.bytes[..replay.to]) {
                return Ok(Some(protocol)).into();
            }
        }
    })
    .await
}

/// What begins like this, if that is clear yet.
fn spoken(bytes: &[u8]) -> Option<Protocol> {
    if !PREFACE.starts_with(bytes) {
        Some(Protocol::Http1)
    } else if bytes.len() == PREFACE.len() {
        Some(Protocol::Http2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_decides() {
        for (bytes, expected) in [
            (&b"G"[..], Some(Protocol::Http1)),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (b"POST", Some(Protocol::Http1)),
            (b"PRI * HTTP/1", Some(Protocol::Http1)),
            (PREFACE, Some(Protocol::Http2)),
        ] {
            assert_eq!(spoken(bytes), expected, "{bytes:?}");
        }
    }
}
