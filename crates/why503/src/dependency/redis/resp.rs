//! Redis' protocol, as much as questions need: commands out, replies in.
//!
//! Replies are read as they are, because a client library turns *no place*, *loading* and *out of
//! memory* into errors of its own, and `redis-cli` exits 0 on all of them.

use crate::wire::{Fault, Wire};

/// How deep arrays may lie in each other; the replies that are asked for are flat.
const DEPTH_MAX: u8 = 3;

/// Most elements of one array.
const ELEMENTS_MAX: usize = 4096;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A word such as `PONG`.
    Word(String),
    /// A code in capitals, then a sentence.
    Error(String),
    /// A number.
    Number(i64),
    /// A text, lossily; `None` for nil.
    Text(Option<String>),
    /// Several.
    Several(Vec<Self>),
}

impl Reply {
    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Word(text) | Self::Text(Some(text)) => Some(text),
            _ => None,
        }
    }
}

/// Sends a command and reads its reply.
pub(crate) async fn ask(wire: &mut Wire, words: &[&str]) -> Result<Reply, Fault> {
    wire.send(&command(words)).await?;
    read(wire).await
}

/// A command in the form that needs no escapes.
fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    bytes
}

/// Reads a reply.
pub(crate) async fn read(wire: &mut Wire) -> Result<Reply, Fault> {
    // What is still to be read of each array that is open, from the outside in.
    let mut open: Vec<(usize, Vec<Reply>)> = Vec::new();
    loop {
        let mut whole = match one(wire, open.len()).await? {
            Head::Whole(reply) => reply,
            Head::Array(0) => Reply::Several(Vec::new()),
            Head::Array(count) => {
                open.push((count, Vec::new()));
                continue;
            }
        };
        loop {
            let Some((count, mut read)) = open.pop() else {
                return Ok(whole);
            };
            read.push(whole);
            if read.len() < count {
                open.push((count, read));
                break;
            }
            whole = Reply::Several(read);
        }
    }
}

enum Head {
    Whole(Reply),
    Array(usize),
}

async fn one(wire: &mut Wire, depth: usize) -> Result<Head, Fault> {
    let line = wire.line().await?;
    let foreign = || {
        let seen: String = line.chars().take(20).collect();
        Fault::Foreign(format!("it began with {seen:?}"))
    };
    let mut rest = line.chars();
    let kind = rest.next();
    let rest = rest.as_str();
    let number = || rest.parse::<i64>().map_err(|_| foreign());
    let reply = match kind {
        Some('+') => Reply::Word(rest.to_owned()),
        Some('-') => Reply::Error(rest.chars().take(300).collect()),
        Some(':') => Reply::Number(number()?),
        Some('$') => match usize::try_from(number()?) {
            Err(_) => Reply::Text(None),
            Ok(length) => {
                let bytes = wire.take(length.saturating_add(2)).await?;
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                Reply::Text(Some(text))
            }
        },
        Some('*') => match usize::try_from(number()?) {
            Err(_) => Reply::Text(None),
            Ok(count) if count > ELEMENTS_MAX || depth >= usize::from(DEPTH_MAX) => {
                return Err(Fault::TooLong);
            }
            Ok(count) => return Ok(Head::Array(count)),
        },
        _ => return Err(foreign()),
    };
    Ok(Head::Whole(reply))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn reply(bytes: &[u8]) -> Result<Reply, Fault> {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(bytes).await.expect("there is room");
        theirs.shutdown().await.expect("it is open");
        let mut wire = Wire::over(ours, crate::clock::now() + Duration::from_secs(5));
        read(&mut wire).await
    }

    #[tokio::test(start_paused = true)]
    async fn replies_of_each_kind_are_read() {
        let word = |text: &str| Reply::Word(text.to_owned());
        let text = |text: &str| Reply::Text(Some(text.to_owned()));
        for (bytes, expected) in [
            (&b"+PONG\r\n"[..], word("PONG")),
            (b":-3\r\n", Reply::Number(-3)),
            (b"$-1\r\n", Reply::Text(None)),
            (b"$4\r\na\r\nb\r\n", text("a\r\nb")),
            (b"*0\r\n", Reply::Several(vec![])),
            (
                b"*3\r\n$1\r\na\r\n*1\r\n:1\r\n+x\r\n",
                Reply::Several(vec![
                    text("a"),
                    Reply::Several(vec![Reply::Number(1)]),
                    word("x"),
                ]),
            ),
        ] {
            assert_eq!(reply(bytes).await, Ok(expected));
        }
        let full = "ERR max number of clients reached";
        let bytes = format!("-{full}\r\n");
        assert_eq!(
            reply(bytes.as_bytes()).await,
            Ok(Reply::Error(full.to_owned()))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_hostile_server_neither_hangs_nor_fills_the_memory() {
        assert_eq!(reply(b"").await, Err(Fault::Closed));
        assert_eq!(reply(b"$99999999999\r\nx").await, Err(Fault::TooLong));
        assert_eq!(reply(b"*99999999\r\n").await, Err(Fault::TooLong));
        assert_eq!(reply(&b"*1\r\n".repeat(50)).await, Err(Fault::TooLong));
        let foreign = Fault::Foreign("it began with \"HTTP/1.1 400 Bad Req\"".to_owned());
        assert_eq!(reply(b"HTTP/1.1 400 Bad Request\r\n").await, Err(foreign));
        assert!(matches!(reply(b"$x\r\n").await, Err(Fault::Foreign(_))));
    }
}
