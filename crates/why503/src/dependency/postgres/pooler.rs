//! PgBouncer: its console, and the servers behind it, each asked apart.

use std::{collections::BTreeSet, fs, io::Read, path::PathBuf, time::Duration};

use steadfast_diagnosis::{Id, Pgbouncer, Postgres, ServerKind};

use super::{
    STRANGER,
    pgbouncer::{self, Table},
    session::{NoAnswer, Session},
    startup::{self, Reply},
};
use crate::{
    clock,
    collect::{Collected, Job},
    dependency::{
        address::{Address, Kind},
        ask::{reached, tied, until},
        known::Known,
    },
    wire::Wire,
};

/// Most servers behind a pooler that are asked.
const SERVERS_MAX: usize = 8;

/// Most bytes of a configuration that are read.
const CONFIG_MAX: u64 = 256 * 1024;

const REMEDY: &str = "name the role in stats_users, and give --pgbouncer postgres://role:password@host:6432/pgbouncer";

/// Asks the console and the servers behind it.
pub(crate) async fn look(job: &Job<'_>, known: &Known, seen: &mut Collected) {
    let address = &known.address;
    if !known.may_log_in {
        for id in [Id::PgbWait, Id::PgbClientLimit] {
            seen.could_not(
                id,
                &format!("no session at the console of {address}"),
                REMEDY,
            );
        }
        return;
    }
    match console(job, address).await {
        Ok(tables) => write(job, address, &tables, seen).await,
        Err(why) => {
            let why = match why {
                NoAnswer::Server(refused) => refused.message,
                NoAnswer::Wire(fault) => fault.to_string(),
                NoAnswer::Client(text) => text,
            };
            for id in [Id::PgbWait, Id::PgbClientLimit] {
                seen.could_not(id, &format!("the console of {address}: {why}"), REMEDY);
            }
        }
    }
}

struct Tables {
    pools: Table,
    databases: Table,
    config: Table,
    lists: Table,
}

async fn console(job: &Job<'_>, address: &Address) -> Result<Tables, NoAnswer> {
    let session = Session::open(&address.with_database("pgbouncer"), until(job)).await?;
    let mut all = Vec::new();
    for command in ["SHOW POOLS", "SHOW DATABASES", "SHOW CONFIG", "SHOW LISTS"] {
        all.push(
            session
                .ask(command)
                .await?
                .into_iter()
                .next()
                .unwrap_or_default(),
        );
    }
    let [pools, databases, config, lists] = <[Table; 4]>::try_from(all)
        .map_err(|_| NoAnswer::Client("an answer is missing".to_owned()))?;
    Ok(Tables {
        pools,
        databases,
        config,
        lists,
    })
}

async fn write(job: &Job<'_>, address: &Address, tables: &Tables, seen: &mut Collected) {
    let databases = pgbouncer::databases(&tables.databases);
    let default = pgbouncer::setting(&tables.config, "default_pool_size").unwrap_or(0);
    for pool in pgbouncer::pools(&tables.pools) {
        let source = format!("{address}, SHOW POOLS, {} of {}", pool.database, pool.user);
        let size = databases.iter().find(|it| it.name == pool.database);
        let size = size.map_or(0, |it| it.pool_size);
        let max = if size == 0 { default } else { size };
        let seen_pool = Pgbouncer::Pool {
            waiting: pool.clients_waiting,
            longest: Duration::from_secs(pool.wait_seconds),
            active: pool.servers_active,
            max,
        };
        seen.saw(&source, tied(address), seen_pool);
    }
    let now = pgbouncer::list(&tables.lists, "used_clients");
    let max = pgbouncer::setting(&tables.config, "max_client_conn");
    if let Some((now, max)) = now.zip(max) {
        let source = format!("{address}, SHOW LISTS and max_client_conn");
        seen.saw(&source, tied(address), Pgbouncer::Clients { now, max });
    }
    let named = databases.iter().map(|it| (it.host.clone(), it.port));
    let mut places: BTreeSet<_> = named.collect();
    if places.is_empty() {
        places.extend(configured(job, address.port));
    }
    for (host, port) in places.into_iter().take(SERVERS_MAX) {
        behind(job, &host, port, seen).await;
    }
}

/// The servers that the configuration of the pooler on this host names.
fn configured(job: &Job<'_>, port: u16) -> Vec<(String, u16)> {
    let listeners = job.found.listeners.iter();
    let pids = listeners
        .filter(|it| it.addr.port() == port)
        .flat_map(|it| &it.pids);
    let file = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        let name = arguments.split('\0').find(|it| it.ends_with(".ini"))?;
        let root = format!("/proc/{pid}/root");
        Some(if name.starts_with('/') {
            format!("{root}{name}")
        } else {
            format!("/proc/{pid}/cwd/{name}")
        })
    };
    let mut texts = pids.filter_map(file).filter_map(|path| {
        let file = fs::File::open(path).ok()?;
        let mut text = String::new();
        file.take(CONFIG_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    });
    texts
        .next()
        .map(|text| pgbouncer::servers(&text))
        .unwrap_or_default()
}

/// Asks a server behind the pooler, without the pooler.
async fn behind(job: &Job<'_>, host: &str, port: u16, seen: &mut Collected) {
    // Without a host it is at a Unix socket.
    let socket = (host.is_empty() || host.starts_with('/')).then(|| {
        let dir = if host.is_empty() {
            "/var/run/postgresql"
        } else {
            host
        };
        PathBuf::from(format!("{dir}/.s.PGSQL.{port}"))
    });
    let shown = if host.is_empty() { "localhost" } else { host };
    let known = Known {
        address: Address::bare(Kind::Postgres, shown, port),
        is_guess: false,
        may_log_in: false,
        program: None,
    };
    let begun_at = clock::now();
    let asked = async {
        let mut wire = match &socket {
            Some(path) => Wire::open_unix(path, until(job)).await?,
            None => Wire::open(host, port, until(job)).await?,
        };
        startup::ask(&mut wire, STRANGER, "postgres").await
    };
    let reply = asked.await;
    reached(
        seen,
        job,
        &known,
        ServerKind::Postgres,
        reply.as_ref().err(),
        begun_at,
    );
    if let Ok(Reply::Refuses(refused)) = reply
        && !refused.sqlstate.starts_with("28")
        && refused.sqlstate != "3D000"
    {
        let source = format!("{}, start-up message", known.address);
        let (code, message) = (refused.sqlstate.into(), refused.message.into());
        seen.saw(
            &source,
            tied(&known.address),
            Postgres::Error { code, message },
        );
    }
}
