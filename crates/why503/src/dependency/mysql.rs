//! MySQL and MariaDB: the first packet without logging in, and the server's own counts for who
//! gave a URL.

pub(super) mod handshake;
mod locks;
mod session;

use steadfast_diagnosis::{Id, Mysql, Reach, Server, ServerKind};

use super::{
    ask::{reach, reached, tied, until},
    known::Known,
};
use crate::{
    clock,
    collect::{Collected, Job},
    wire::Wire,
};
use handshake::{Greeting, Refused};
use session::{NoAnswer, State};

/// Asks a server.
pub(crate) async fn look(job: &Job<'_>, known: &Known) -> Collected {
    let mut seen = Collected::new();
    let address = &known.address;
    let begun_at = clock::now();
    let greeted = async {
        let mut wire = Wire::open(&address.host, address.port, until(job)).await?;
        handshake::listen(&mut wire).await
    };
    let greeted = greeted.await;
    let kind = ServerKind::Mysql;
    reached(
        &mut seen,
        job,
        known,
        kind,
        greeted.as_ref().err(),
        begun_at,
    );
    match greeted {
        Err(_) => return seen,
        Ok(Greeting::Refuses(refused)) => {
            error(&mut seen, known, refused, "first packet");
            return seen;
        }
        Ok(Greeting::Takes { .. }) => {}
    }
    if !known.may_log_in || address.url.is_none() || address.user.is_none() {
        let remedy = "--mysql mysql://user:password@host/name";
        for id in [Id::MysqlExhausted, Id::MysqlLocks, Id::MysqlReadOnly] {
            seen.could_not(
                id,
                &format!("no session at {address} without a password"),
                remedy,
            );
        }
        return seen;
    }
    let begun_at = clock::now();
    let after = || clock::now().saturating_duration_since(begun_at);
    match session::ask(address, until(job)).await {
        Ok(state) => write(&mut seen, known, &state),
        Err(NoAnswer::Server(refused)) if matches!(refused.code, 1044 | 1045 | 1698) => {
            let how = Reach::LoginRefused;
            let after = after();
            seen.saw(
                &address.to_string(),
                tied(address),
                Server::Reached { kind, how, after },
            );
        }
        Err(NoAnswer::Server(refused)) => error(&mut seen, known, refused, "session"),
        Err(NoAnswer::Wire(fault)) => {
            let (how, after) = (reach(&fault), after());
            seen.saw(
                &address.to_string(),
                tied(address),
                Server::Reached { kind, how, after },
            );
        }
        Err(NoAnswer::Client(why)) => {
            let remedy = "mariadb with the same user";
            seen.could_not(Id::MysqlExhausted, &format!("{address}: {why}"), remedy);
        }
    }
    seen
}

fn write(seen: &mut Collected, known: &Known, state: &State) {
    let address = &known.address;
    let counts = state
        .number("threads_connected")
        .zip(state.number("max_connections"));
    if let Some((used, max)) = counts {
        // Ours is one of them.
        let used = used.saturating_sub(1);
        let source = format!("{address}, SHOW GLOBAL STATUS");
        seen.saw(&source, tied(address), Mysql::Sessions { used, max });
    }
    match &state.locks {
        Some(Ok(locks)) => {
            let seen_there = Mysql::Locks {
                waiting: locks.waiting,
                longest: locks.longest,
                root: locks.root,
                holder: locks.holder.as_str().into(),
            };
            let source = format!("{address}, innodb_trx and processlist");
            seen.saw(&source, tied(address), seen_there);
        }
        Some(Err(why)) => {
            let remedy = "give a user with the privilege PROCESS";
            seen.could_not(Id::MysqlLocks, &format!("{address}: {why}"), remedy);
        }
        None => {}
    }
    let on = ["read_only", "super_read_only", "innodb_read_only"];
    let on = on.iter().any(|name| state.is_on(name));
    let source = format!("{address}, SHOW GLOBAL VARIABLES");
    seen.saw(&source, tied(address), Mysql::ReadOnly { on });
}

fn error(seen: &mut Collected, known: &Known, refused: Refused, asked: &str) {
    let address = &known.address;
    let source = format!("{address}, {asked}");
    let (code, message) = (refused.code, refused.message.into());
    seen.saw(&source, tied(address), Mysql::Error { code, message });
}
