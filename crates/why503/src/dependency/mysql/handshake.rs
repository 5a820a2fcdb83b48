//! The first packet of a MySQL or MariaDB server, which comes before anybody logs in: a greeting
//! with its version, or the error that it has no place.

use crate::wire::{Fault, Wire};

/// Longest first packet that is read; a greeting has about a hundred bytes.
const PACKET_MAX: usize = 4096;

/// What the server said first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// It would take a session.
    Takes {
        /// Its version; MariaDB's has its name in it.
        version: String,
    },
    /// It takes none, or none from here.
    Refuses(Refused),
}

/// An error of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Its number: 1040 is *too many connections*.
    pub(crate) code: u16,
    /// The sentence.
    pub(crate) message: String,
}

/// Waits for the first packet.
pub(crate) async fn listen(wire: &mut Wire) -> Result<Greeting, Fault> {
    let head = wire.take(4).await?;
    let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    // The first packet has the number 0; an error before the greeting may have another.
    if length == 0 || length > PACKET_MAX || head[3] > 1 {
        let seen = String::from_utf8_lossy(&head).into_owned();
        return Err(Fault::Foreign(format!("it began with {seen:?}")));
    }
    greeting(&wire.take(length).await?)
}

fn greeting(packet: &[u8]) -> Result<Greeting, Fault> {
    match packet {
        [10, rest @ ..] => {
            let version = rest.split(|byte| *byte == 0).next().unwrap_or_default();
            let version = String::from_utf8_lossy(version).chars().take(80).collect();
            Ok(Greeting::Takes { version })
        }
        [0xff, low, high, rest @ ..] => {
            // With `#` and five characters of SQLSTATE between code and sentence, or without.
            let text = match rest {
                [b'#', _, _, _, _, _, text @ ..] => text,
                text => text,
            };
            Ok(Greeting::Refuses(Refused {
                code: u16::from_le_bytes([*low, *high]),
                message: String::from_utf8_lossy(text).chars().take(300).collect(),
            }))
        }
        other => {
            let first = other.first().copied().unwrap_or_default();
            Err(Fault::Foreign(format!("a first packet of type {first}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn check(bytes: &[u8], expected: Result<Greeting, Fault>) {
        let (ours, mut theirs) = tokio::io::duplex(8192);
        theirs.write_all(bytes).await.expect("there is room");
        theirs.shutdown().await.expect("it is open");
        let mut wire = Wire::over(ours, crate::clock::now() + Duration::from_secs(5));
        assert_eq!(listen(&mut wire).await, expected);
    }

    fn packet(payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).expect("short");
        [&[length, 0, 0, 0][..], payload].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn a_greeting_and_a_refusal_are_told_apart() {
        let version = "5.5.5-10.11.14-MariaDB".to_owned();
        let greeting = packet(b"\x0a5.5.5-10.11.14-MariaDB\0\x08\0\0\0salt");
        check(&greeting, Ok(Greeting::Takes { version })).await;
        let refused = |code, message: &str| {
            Ok(Greeting::Refuses(Refused {
                code,
                message: message.to_owned(),
            }))
        };
        let full = packet(b"\xff\x10\x04#08004Too many connections");
        check(&full, refused(1040, "Too many connections")).await;
        let old = packet(b"\xff\x10\x04Too many connections");
        check(&old, refused(1040, "Too many connections")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_mysql_is_said_to_be_none() {
        check(b"", Err(Fault::Closed)).await;
        check(
            b"SSH-2.0-x",
            Err(Fault::Foreign("it began with \"SSH-\"".to_owned())),
        )
        .await;
        check(
            &packet(b"\x09x"),
            Err(Fault::Foreign("a first packet of type 9".to_owned())),
        )
        .await;
        check(b"\xff\0\0\0short", Err(Fault::Closed)).await;
    }
}
