//! Redis and Valkey: replies as they are, and `INFO`. Nothing is written to find out whether
//! writes would fail; memory, role and the last save tell.

pub(super) mod info;
pub(super) mod resp;

use std::time::Duration;

use steadfast_diagnosis::{Bytes, Id, Redis, RedisReply, ServerKind};
use tokio::time::sleep;

use super::{
    ask::{reached, tied, until},
    encrypt,
    known::Known,
};
use crate::{
    clock,
    collect::{Collected, Job, SAMPLE_GAP},
    wire::{Fault, Wire, connect},
};
use info::Info;
use resp::{Reply, ask};

/// Asks a server.
pub(crate) async fn look(job: &Job<'_>, known: &Known) -> Collected {
    let mut seen = Collected::new();
    let begun_at = clock::now();
    let mut talk = Talk::default();
    let fault = converse(job, known, &mut talk).await.err();
    // A server that refuses says so and then closes; what it said counts.
    let fault = fault.filter(|_| talk.error.is_none() && talk.info.is_none());
    reached(
        &mut seen,
        job,
        known,
        ServerKind::Redis,
        fault.as_ref(),
        begun_at,
    );
    if let Some(text) = &talk.error {
        let is = reply(text);
        let source = format!("{}, {}", known.address, talk.asked);
        seen.saw(
            &source,
            tied(&known.address),
            Redis::Reply {
                is,
                text: text.as_str().into(),
            },
        );
        if is == RedisReply::NoAuth && talk.info.is_none() {
            let remedy = "--redis redis://user:password@host:port";
            seen.could_not(Id::RedisOom, "INFO needs a password here", remedy);
        }
    }
    if let Some(info) = &talk.info {
        let refused = refused_since(job, known, info).await;
        write(&mut seen, known, &talk, info, refused);
    }
    seen
}

/// What was said.
#[derive(Debug, Default)]
struct Talk {
    /// The first error, and the command that it answered.
    error: Option<String>,
    asked: &'static str,
    info: Option<Info>,
    stops_on_failed_save: Option<bool>,
}

async fn open(job: &Job<'_>, known: &Known) -> Result<Wire, Fault> {
    let address = &known.address;
    let until = until(job);
    if !address.tls {
        return Wire::open(&address.host, address.port, until).await;
    }
    let stream = connect(&address.host, address.port, until).await?;
    let shaken = tokio::time::timeout_at(until, encrypt::strict(stream, &address.host)).await;
    Ok(Wire::over(shaken.map_err(|_| Fault::Silent)??, until))
}

async fn converse(job: &Job<'_>, known: &Known, talk: &mut Talk) -> Result<(), Fault> {
    let address = &known.address;
    let mut wire = open(job, known).await?;
    let password = address.password.as_deref().filter(|_| known.may_log_in);
    if let Some(password) = password {
        let words = match &address.user {
            Some(user) => vec!["AUTH", user, password],
            None => vec!["AUTH", password],
        };
        note(talk, "AUTH", &ask(&mut wire, &words).await?);
    }
    note(talk, "PING", &ask(&mut wire, &["PING"]).await?);
    let info = ask(&mut wire, &["INFO"]).await?;
    note(talk, "INFO", &info);
    let info = info.text().map(Info::read);
    let is_cluster = info.as_ref().is_some_and(|it| it.flag("cluster_enabled"));
    talk.info = info;
    let words = ["CONFIG", "GET", "stop-writes-on-bgsave-error"];
    if let Reply::Several(pair) = ask(&mut wire, &words).await? {
        talk.stops_on_failed_save = pair.get(1).and_then(Reply::text).map(|it| it == "yes");
    }
    if is_cluster {
        let reply = ask(&mut wire, &["CLUSTER", "INFO"]).await?;
        if reply
            .text()
            .is_some_and(|text| text.contains("cluster_state:fail"))
        {
            note(
                talk,
                "CLUSTER INFO",
                &Reply::Error("CLUSTERDOWN cluster_state:fail".to_owned()),
            );
        }
    }
    Ok(())
}

fn note(talk: &mut Talk, asked: &'static str, reply: &Reply) {
    if let (None, Reply::Error(text)) = (&talk.error, reply) {
        talk.error = Some(text.clone());
        talk.asked = asked;
    }
}

/// How many clients were refused between two samples; nobody waits for it where none ever was.
async fn refused_since(job: &Job<'_>, known: &Known, info: &Info) -> u64 {
    let before = info.number("rejected_connections").unwrap_or(0);
    if before == 0 {
        return 0;
    }
    sleep(job.within(SAMPLE_GAP)).await;
    let mut again = Talk::default();
    // If it cannot be asked again, nothing is known to have grown.
    let _ = converse(job, known, &mut again).await;
    let after = again.info.and_then(|it| it.number("rejected_connections"));
    after.unwrap_or(before).saturating_sub(before)
}

fn write(seen: &mut Collected, known: &Known, talk: &Talk, info: &Info, refused: u64) {
    let address = &known.address;
    let mut saw = |section: &str, fact: Redis| {
        seen.saw(&format!("{address}, INFO {section}"), tied(address), fact);
    };
    if let Some((now, max)) = info
        .number("connected_clients")
        .zip(info.number("maxclients"))
    {
        // Ours is one of them.
        let now = now.saturating_sub(1);
        saw("clients", Redis::Clients { now, max, refused });
    }
    if let Some(used) = info.number("used_memory") {
        let max = info.number("maxmemory").filter(|max| *max > 0);
        saw(
            "memory",
            Redis::Memory {
                used: Bytes(used),
                max: max.map(Bytes),
                evicts: info.text("maxmemory_policy") != "noeviction",
            },
        );
    }
    let is_master = info.text("role") == "master";
    saw(
        "replication",
        Redis::Role {
            master: is_master,
            link_up: is_master || info.text("master_link_status") == "up",
            reads_only: !is_master && info.text("slave_read_only") != "0",
        },
    );
    if info.save_failed() {
        // It stops writes unless told otherwise.
        let stops_writes = talk.stops_on_failed_save.unwrap_or(true);
        saw("persistence", Redis::SaveFailed { stops_writes });
    }
    if info.flag("loading") {
        let eta = Duration::from_secs(info.number("loading_eta_seconds").unwrap_or(0));
        saw("persistence", Redis::Loading { eta });
    }
}

fn reply(text: &str) -> RedisReply {
    match text.split_whitespace().next().unwrap_or_default() {
        "ERR" if text.contains("max number of clients") => RedisReply::Maxclients,
        "OOM" => RedisReply::Oom,
        "LOADING" => RedisReply::Loading,
        "READONLY" => RedisReply::Readonly,
        "MISCONF" => RedisReply::Misconf,
        "NOAUTH" | "WRONGPASS" => RedisReply::NoAuth,
        "NOPERM" => RedisReply::NoPermission,
        "CLUSTERDOWN" => RedisReply::ClusterDown,
        "MASTERDOWN" => RedisReply::MasterDown,
        "BUSY" => RedisReply::Busy,
        "MOVED" => RedisReply::Moved,
        // What a server without users says to somebody who names a password.
        "ERR" if text.contains("AUTH") => RedisReply::NoAuth,
        _ => RedisReply::Other,
    }
}
