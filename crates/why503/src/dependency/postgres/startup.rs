//! The first words of PostgreSQL's protocol, spoken without a password.
//!
//! A real StartupMessage makes the server decide whether it takes a session, which `pg_isready`
//! does not: with every slot taken that still says *accepting connections*. The server answers
//! with an error and its SQLSTATE, or asks for a password, and no more is needed.

use crate::wire::{Fault, Wire};

/// Longest message that is read; an error has a few hundred bytes.
const MESSAGE_MAX: usize = 16 * 1024;

/// Version 3.0 of the protocol.
const PROTOCOL: i32 = 196_608;

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It would take a session: it asked to be convinced, or needed no convincing.
    Takes,
    /// It takes none, or not this one.
    Refuses(Refused),
}

/// An error of the server: what a program reads and what a person does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Five characters; the text beside it changes from version to version and with the language.
    pub(crate) sqlstate: String,
    /// The sentence.
    pub(crate) message: String,
}

/// Asks a server whether it takes a session.
pub(crate) async fn ask(wire: &mut Wire, user: &str, database: &str) -> Result<Reply, Fault> {
    wire.send(&message(user, database)).await?;
    loop {
        let head = wire.take(5).await?;
        let kind = head[0];
        let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(length).unwrap_or(0);
        if !(4..=MESSAGE_MAX).contains(&length) || !kind.is_ascii_alphabetic() {
            let seen = String::from_utf8_lossy(&head).into_owned();
            return Err(Fault::Foreign(format!("it began with {seen:?}")));
        }
        let body = wire.take(length - 4).await?;
        if let Some(reply) = reply(kind, &body)? {
            return Ok(reply);
        }
    }
}

/// The StartupMessage.
pub(crate) fn message(user: &str, database: &str) -> Vec<u8> {
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    let parameters = [
        ("user", user),
        ("database", database),
        ("application_name", "why503"),
    ];
    for (name, value) in parameters {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        // A zero byte would end the value and begin a parameter.
        body.extend(value.bytes().filter(|byte| *byte != 0));
        body.push(0);
    }
    body.push(0);
    let length = i32::try_from(body.len() + 4).unwrap_or(i32::MAX);
    let mut all = length.to_be_bytes().to_vec();
    all.append(&mut body);
    all
}

/// What a message means; `None` for one that only accompanies.
fn reply(kind: u8, body: &[u8]) -> Result<Option<Reply>, Fault> {
    match kind {
        // A request for authentication, of whatever kind, or that none is needed.
        b'R' => Ok(Some(Reply::Takes)),
        b'E' => Ok(Some(Reply::Refuses(refused(body)))),
        // A notice, or what of the protocol's newer minor versions it does not know.
        b'N' | b'v' => Ok(None),
        other => Err(Fault::Foreign(format!(
            "a message of type {:?}",
            char::from(other)
        ))),
    }
}

/// The fields of an ErrorResponse: a letter and a text each, ended by a zero byte.
fn refused(body: &[u8]) -> Refused {
    let mut found = Refused::default();
    for field in body.split(|byte| *byte == 0) {
        let Some((letter, text)) = field.split_first() else {
            break;
        };
        let text = || String::from_utf8_lossy(text).chars().take(300).collect();
        match letter {
            b'C' => found.sqlstate = text(),
            b'M' => found.message = text(),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Lets a server say `bytes` and hang up, and asks it.
    async fn check(bytes: &[u8], expected: Result<Reply, Fault>) {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(bytes).await.expect("there is room");
        let until = crate::clock::now() + Duration::from_secs(5);
        let mut wire = Wire::over(ours, until);
        // Our own question has to find somebody, so the end is only half closed.
        theirs.shutdown().await.expect("it is open");
        assert_eq!(ask(&mut wire, "u", "d").await, expected);
    }

    fn error(sqlstate: &str, text: &str) -> Vec<u8> {
        let body = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{text}\0Fproc.c\0\0");
        let mut all = vec![b'E'];
        all.extend(u32::try_from(body.len() + 4).expect("short").to_be_bytes());
        all.extend(body.as_bytes());
        all
    }

    fn refuses(sqlstate: &str, text: &str) -> Result<Reply, Fault> {
        Ok(Reply::Refuses(Refused {
            sqlstate: sqlstate.to_owned(),
            message: text.to_owned(),
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn each_first_answer_is_told_apart() {
        check(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0", Ok(Reply::Takes)).await;
        check(b"R\0\0\0\x08\0\0\0\0", Ok(Reply::Takes)).await;
        let full = "sorry, too many clients already";
        check(&error("53300", full), refuses("53300", full)).await;
        check(&error("57P03", "starting"), refuses("57P03", "starting")).await;
        let notice = b"N\0\0\0\x05\0".to_vec();
        let after = [notice, error("53300", full)].concat();
        check(&after, refuses("53300", full)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_postgresql_is_said_to_be_none() {
        check(b"", Err(Fault::Closed)).await;
        check(b"E\0", Err(Fault::Closed)).await;
        let foreign = |seen: &str| Err(Fault::Foreign(format!("it began with {seen:?}")));
        check(b"HTTP/1.1 400 Bad Request", foreign("HTTP/")).await;
        check(
            b"E\x7f\xff\xff\xffxxxx",
            foreign("E\x7f\u{fffd}\u{fffd}\u{fffd}"),
        )
        .await;
        check(b"E\0\0\0\x01xx", foreign("E\0\0\0\u{1}")).await;
    }

    #[test]
    fn a_name_cannot_smuggle_in_a_parameter() {
        let sent = message("a\0replication\0true", "d");
        let parameters = sent[8..].split(|byte| *byte == 0);
        let words: Vec<_> = parameters.map(String::from_utf8_lossy).collect();
        assert_eq!(words[..2], ["user", "areplicationtrue"]);
    }
}
