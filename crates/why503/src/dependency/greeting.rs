//! Dependencies that are only greeted: memcached, RabbitMQ and Kafka, as far as their first answer
//! tells.

use std::collections::BTreeMap;

use crate::wire::{Fault, Wire};

/// Longest AMQP frame or Kafka answer that is read.
const FRAME_MAX: usize = 64 * 1024;

/// Most lines of memcached's `stats`.
const LINES_MAX: usize = 200;

/// Asks memcached for its `stats`.
pub(crate) async fn memcached(wire: &mut Wire) -> Result<BTreeMap<String, String>, Fault> {
    wire.send(b"stats\r\n").await?;
    let mut stats = BTreeMap::new();
    for _ in 0..LINES_MAX {
        let line = wire.line().await?;
        if line == "END" {
            return Ok(stats);
        }
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("STAT"), Some(name), Some(value)) => {
                stats.insert(name.to_owned(), value.to_owned());
            }
            // *ERROR Too many open connections*, and what else it has to say.
            (Some("ERROR" | "SERVER_ERROR" | "CLIENT_ERROR"), ..) => {
                return Ok(BTreeMap::from([("error".to_owned(), line)]));
            }
            _ => {
                let seen: String = line.chars().take(20).collect();
                return Err(Fault::Foreign(format!("it said {seen:?}")));
            }
        }
    }
    Err(Fault::TooLong)
}

/// Opens AMQP 0-9-1; returns the server's product and version, as far as it says them.
pub(crate) async fn amqp(wire: &mut Wire) -> Result<String, Fault> {
    wire.send(b"AMQP\0\0\x09\x01").await?;
    let head = wire.take(7).await?;
    if head.starts_with(b"AMQP") {
        return Err(Fault::Foreign("another version of AMQP".to_owned()));
    }
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if head[0] != 1 || size > FRAME_MAX {
        let seen = String::from_utf8_lossy(&head).into_owned();
        return Err(Fault::Foreign(format!("it began with {seen:?}")));
    }
    let frame = wire.take(size).await?;
    match frame[..] {
        // connection.start
        [0, 10, 0, 10, ..] => Ok(["product", "version"]
            .iter()
            .filter_map(|name| property(&frame, name))
            .collect::<Vec<_>>()
            .join(" ")),
        // connection.close: the code and its text.
        [0, 10, 0, 50, high, low, ..] => {
            let code = u16::from_be_bytes([high, low]);
            Err(Fault::Foreign(format!("it closes with {code}")))
        }
        _ => Err(Fault::Foreign("no connection.start".to_owned())),
    }
}

/// A long string of the server's table of properties.
fn property(frame: &[u8], name: &str) -> Option<String> {
    let length = u8::try_from(name.len()).ok()?;
    let key = [&[length], name.as_bytes(), b"S"].concat();
    let at = frame.windows(key.len()).position(|it| it == key)? + key.len();
    let size = u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?);
    let text = frame.get(at + 4..)?.get(..usize::try_from(size).ok()?)?;
    Some(String::from_utf8_lossy(text).chars().take(40).collect())
}

/// Asks Kafka which versions it speaks; returns the error code of its answer, 0 for none.
pub(crate) async fn kafka(wire: &mut Wire) -> Result<i16, Fault> {
    // ApiVersions (18), version 0, a number that comes back, and who asks.
    let body = b"\0\x12\0\0\0\0\x05\x03\0\x06why503";
    let length = u32::try_from(body.len()).unwrap_or(0).to_be_bytes();
    wire.send(&[&length[..], body].concat()).await?;
    let head = wire.take(4).await?;
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if !(6..=FRAME_MAX).contains(&size) {
        let seen = String::from_utf8_lossy(&head).into_owned();
        return Err(Fault::Foreign(format!("it began with {seen:?}")));
    }
    match wire.take(size).await?[..] {
        [0, 0, 5, 3, high, low, ..] => Ok(i16::from_be_bytes([high, low])),
        _ => Err(Fault::Foreign("an answer to another question".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn wire(bytes: &[u8]) -> Wire {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(bytes).await.expect("there is room");
        theirs.shutdown().await.expect("it is open");
        // Kept open to be written to; it ends with the test.
        tokio::spawn(async move {
            let _kept = theirs;
            std::future::pending::<()>().await;
        });
        Wire::over(ours, crate::clock::now() + Duration::from_secs(5))
    }

    #[tokio::test(start_paused = true)]
    async fn memcached_is_read_or_heard_refusing() {
        let text = b"STAT curr_connections 3\r\nSTAT max_connections 1024\r\nEND\r\n";
        let stats = memcached(&mut wire(text).await).await.expect("stats");
        assert_eq!(stats["curr_connections"], "3");
        let full = memcached(&mut wire(b"ERROR Too many open connections\r\n").await).await;
        assert!(full.expect("a refusal")["error"].contains("Too many"));
        let other = memcached(&mut wire(b"220 smtp\r\n").await).await;
        assert!(matches!(other, Err(Fault::Foreign(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn amqp_is_greeted() {
        let start = b"\0\x0a\0\x0a\0\x09\0\0\0\x20\x07productS\0\0\0\x08RabbitMQ\x07versionS\0\0\0\x063.10.8";
        let size = u8::try_from(start.len()).expect("short");
        let bytes = [&[1, 0, 0, 0, 0, 0, size][..], start].concat();
        let product = amqp(&mut wire(&bytes).await).await;
        assert_eq!(product, Ok("RabbitMQ 3.10.8".to_owned()));
        let other = amqp(&mut wire(b"AMQP\0\x01\0\0").await).await;
        assert!(matches!(other, Err(Fault::Foreign(_))));
        assert!(matches!(
            amqp(&mut wire(b"\x01\0\0\xff\xff\xff\xff").await).await,
            Err(Fault::Foreign(_))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn kafka_answers_the_question_it_was_asked() {
        let answer = b"\0\0\0\x0a\0\0\x05\x03\0\0\0\0\0\0";
        assert_eq!(kafka(&mut wire(answer).await).await, Ok(0));
        let other = kafka(&mut wire(b"\0\0\0\x06\0\0\0\0\0\0").await).await;
        assert!(matches!(other, Err(Fault::Foreign(_))));
        assert!(matches!(
            kafka(&mut wire(b"HTTP/1.1").await).await,
            Err(Fault::Foreign(_))
        ));
    }
}
