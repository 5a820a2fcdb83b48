//! PostgreSQL, and PgBouncer in front of it.
//!
//! First the real start-up message without a password ([`startup`]), whose answer tells whether a
//! session would be had. Then, for who gave a URL, a session that asks for slots, transactions
//! and locks ([`state`]). A pooler is told by its words, by its program, or by a server
//! that says it listens at another port; then its console is asked ([`pgbouncer`]) and the servers
//! behind it apart, because a dead server behind a pooler looks like a pooler that is full.

mod facts;
mod locks;
mod pgbouncer;
mod pooler;
mod replication;
mod session;
pub(super) mod startup;
mod state;

use steadfast_diagnosis::{Id, Pgbouncer, Postgres, Reach, Server, ServerKind};

use super::{
    ask::{reach, reached, tied, until},
    known::Known,
};
use crate::{
    clock,
    collect::{Collected, Job},
    wire::{Fault, Wire},
};
use session::{NoAnswer, Session};
use startup::{Refused, Reply};
use state::State;

/// Whom a start-up message names where nobody is known; that the role does not exist is an answer
/// too.
const STRANGER: &str = "why503";

/// Asks a server, and the pooler that it may be.
pub(crate) async fn look(job: &Job<'_>, known: &Known) -> Collected {
    let mut seen = Collected::new();
    let address = &known.address;
    let is_console = address.database.as_deref() == Some("pgbouncer");
    let mut is_pooler = is_console || known.program.as_deref() == Some("pgbouncer");
    if !is_console {
        let begun_at = clock::now();
        let reply = greet(job, known).await;
        if let Ok(Reply::Refuses(refused)) = &reply {
            is_pooler |= is_poolers(refused);
        }
        let kind = if is_pooler {
            ServerKind::Pgbouncer
        } else {
            ServerKind::Postgres
        };
        reached(&mut seen, job, known, kind, reply.as_ref().err(), begun_at);
        match reply {
            // With some ways to log in a pooler is silent until it has a server.
            Err(Fault::Silent) if is_pooler => {
                pooler::look(job, known, &mut seen).await;
                return seen;
            }
            Err(_) => return seen,
            Ok(Reply::Refuses(refused)) => error(&mut seen, known, &refused, "start-up message"),
            Ok(Reply::Takes) => {}
        }
        if known.may_log_in {
            is_pooler |= ask(job, known, kind, &mut seen).await;
        } else {
            let name = address.to_string();
            let remedy = "--pg postgres://user:password@host/name";
            for id in [
                Id::PgIdleInTx,
                Id::PgLocks,
                Id::PgReplication,
                Id::PgReadOnly,
            ] {
                seen.could_not(
                    id,
                    &format!("no session at {name} without a password"),
                    remedy,
                );
            }
        }
    }
    if is_pooler {
        pooler::look(job, known, &mut seen).await;
    }
    seen
}

async fn greet(job: &Job<'_>, known: &Known) -> Result<Reply, Fault> {
    let address = &known.address;
    let mut wire = Wire::open(&address.host, address.port, until(job)).await?;
    let user = address.user.as_deref().unwrap_or(STRANGER);
    let database = address.database.as_deref().unwrap_or("postgres");
    startup::ask(&mut wire, user, database).await
}

/// Logs in and asks; whether a pooler stands between us and the server.
async fn ask(job: &Job<'_>, known: &Known, kind: ServerKind, seen: &mut Collected) -> bool {
    let address = &known.address;
    let begun_at = clock::now();
    let answered = async {
        let session = Session::open(address, until(job)).await?;
        let tables = session.ask(state::QUESTIONS).await?;
        Ok((tables, session.ask(replication::QUESTION).await))
    };
    let (answers, replicates) = match answered.await {
        Ok(both) => both,
        Err(NoAnswer::Server(refused)) => {
            // Class 28: who one is. The server is well, and would have had a session.
            if refused.sqlstate.starts_with("28") {
                let after = clock::now().saturating_duration_since(begun_at);
                let how = Reach::LoginRefused;
                seen.saw(
                    &address.to_string(),
                    tied(address),
                    Server::Reached { kind, how, after },
                );
                return false;
            }
            error(seen, known, &refused, "session");
            return is_poolers(&refused);
        }
        // A pooler without a server is silent, and its console tells why.
        Err(NoAnswer::Wire(Fault::Silent)) if kind == ServerKind::Pgbouncer => return true,
        Err(NoAnswer::Wire(fault)) => {
            let how = reach(&fault);
            let after = clock::now().saturating_duration_since(begun_at);
            seen.saw(
                &address.to_string(),
                tied(address),
                Server::Reached { kind, how, after },
            );
            return false;
        }
        Err(NoAnswer::Client(why)) => {
            seen.could_not(
                Id::PgIdleInTx,
                &format!("{address}: {why}"),
                "psql with the same URL",
            );
            return false;
        }
    };
    let rows: Vec<_> = answers.into_iter().map(|table| table.rows).collect();
    let state = State::read(&rows);
    facts::write(seen, address, &state);
    match replicates.as_ref().map(|it| it.first()) {
        Ok(Some(table)) => replication::write(seen, address, &table.rows),
        _ => seen.could_not(
            Id::PgReplication,
            &format!("{address}: it does not tell of its replication"),
            "psql -c 'TABLE pg_stat_replication'",
        ),
    }
    state.port.is_some_and(|port| port != address.port)
}

/// Writes down an error: of the server, or of the pooler in its name.
fn error(seen: &mut Collected, known: &Known, refused: &Refused, asked: &str) {
    let address = &known.address;
    // That a stranger may not log in is no news.
    if refused.sqlstate.starts_with("28") || refused.sqlstate == "3D000" {
        return;
    }
    let source = format!("{address}, {asked}");
    let (code, message) = (
        refused.sqlstate.as_str().into(),
        refused.message.as_str().into(),
    );
    if is_poolers(refused) {
        seen.saw(&source, tied(address), Pgbouncer::Error { code, message });
    } else {
        seen.saw(&source, tied(address), Postgres::Error { code, message });
    }
}

/// Whether an error is PgBouncer's own: its code is one that PostgreSQL keeps for broken messages.
fn is_poolers(refused: &Refused) -> bool {
    refused.sqlstate == "08P01"
}
