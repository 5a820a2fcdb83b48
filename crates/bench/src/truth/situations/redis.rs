//! Redis: a single one, a replica, a node of a cluster, and a proxy in front of none.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use support::{Redis, RedisCluster, Relay};

use super::{
    super::watch::{Plan, Seen, observe},
    Expected, Situation, app,
};
use crate::stack::{
    App, blocking,
    redis::{self, Routes},
};

const ROUTES: Routes = &[
    ("/", "GET k"),
    ("/write", "SET k 1"),
    // The type is wrong, which is the caller's fault.
    ("/wrong", "LPUSH k 1"),
];

const PLAN: Plan = Plan::of(redis::NAME);

pub(super) fn situations() -> Vec<Situation> {
    let silent = &[
        "no answer",
        "answer",
        "timed out",
        "silent",
        "stuck",
        "hang",
    ];
    vec![
        Situation::new(
            "redis-stopped",
            "Redis is stopped",
            Expected::says(&["refused", "closed", "broken pipe", "terminated"]),
            || Box::pin(stopped()),
        )
        .quick(),
        Situation::new(
            "redis-stands-still",
            "Redis stands still: it takes connections and says nothing",
            Expected::says(silent),
            || Box::pin(stands_still()),
        ),
        Situation::new(
            "redis-failover",
            "the sessions stay on the demoted server; healed is when new connections lead to the new one",
            Expected::says(&["readonly", "read only", "read-only"]),
            || Box::pin(failover()),
        )
        .quick(),
        Situation::new(
            "redis-master-down",
            "a replica whose master is gone answers MASTERDOWN",
            Expected::says(&["masterdown", "MASTER"]),
            || Box::pin(master_down()),
        ),
        Situation::new(
            "redis-cluster-down",
            "a node of a cluster that misses a slot answers CLUSTERDOWN",
            Expected::says(&["clusterdown", "cluster is down", "Hash slot not served"]),
            || Box::pin(cluster_down()),
        ),
        Situation::new(
            "redis-out-of-memory",
            "Redis is at maxmemory: reads go on, writes fail",
            Expected::says(&["oom", "memory"]),
            || Box::pin(out_of_memory()),
        ),
        Situation::new(
            "redis-full-for-newcomers",
            "Redis is at maxclients; old sessions serve on",
            Expected::says(&["max number of clients"]).by_check(),
            || Box::pin(full_for_newcomers(0)),
        ),
        Situation::new(
            "redis-full-and-slow",
            "the same at 2 requests a second, and each answer takes 150 ms",
            Expected::says(&["max number of clients"]).by_check(),
            || Box::pin(full_for_newcomers(150)),
        ),
        Situation::new(
            "redis-password-rotated",
            "the password is another; old sessions serve on",
            Expected::says(&["password", "WRONGPASS", "auth"]).by_check(),
            || Box::pin(password_rotated()),
        ),
        Situation::new(
            "redis-proxy-without-server",
            "a proxy in front of Redis accepts each connection and closes it",
            Expected::says(&["closes", "closed", "ended", "eof", "reset", "broken pipe"])
                .never(&["maxclients", "max number of clients"]),
            || Box::pin(proxy_without_server()),
        ),
        Situation::new(
            "redis-wrong-type",
            "every command is of the wrong type for its key: the dependency is well",
            Expected::innocent(),
            || Box::pin(innocent()),
        ),
    ]
}

fn server() -> Redis {
    Redis::builder().start()
}

fn url_at(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/")
}

async fn guarded(url: &str) -> App {
    let pool = redis::warm(5, 1, url).await;
    let dependency = redis::dependency(&pool, url);
    app(redis::guarded(&pool, url, &dependency, ROUTES), &dependency)
}

/// A session of the operator's, which stays when no other is let in.
struct Session(TcpStream);

impl Session {
    fn of(server: &Redis) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port()));
        Self(stream.expect("the server is up"))
    }

    fn say(&mut self, command: &str) {
        let line = format!("{command}\r\n");
        let mut answer = [0; 256];
        let said = self.0.write_all(line.as_bytes());
        let read = said.and_then(|()| self.0.read(&mut answer));
        let count = read.expect("the session stands");
        let answer = String::from_utf8_lossy(&answer[..count]);
        assert!(answer.starts_with('+'), "{command}: {answer}");
    }
}

fn say(server: &Redis, command: &str) {
    let reply = server.commands(command);
    assert!(reply.starts_with('+'), "{command}: {reply}");
}

async fn stopped() -> Seen {
    let mut server = blocking(server);
    let app = guarded(&server.url()).await;
    observe(&app, &PLAN, &mut server, Redis::stop, Redis::start_again).await
}

async fn stands_still() -> Seen {
    let mut server = blocking(server);
    let app = guarded(&server.url()).await;
    observe(&app, &PLAN, &mut server, Redis::pause, Redis::resume).await
}

async fn failover() -> Seen {
    let (old, new) = blocking(|| {
        let old = server();
        let new = Redis::builder().replica_of(&old).start();
        new.wait_until_synchronised();
        (old, new)
    });
    let relay = Relay::start(old.port());
    let app = guarded(&url_at(relay.port())).await;
    observe(
        &app,
        &PLAN.asks("/write").beside("/"),
        &mut (old, new, relay),
        |(old, new, _)| {
            new.promote();
            old.demote_to(new);
        },
        |(_, new, relay)| relay.lead_to(new.port()),
    )
    .await
}

async fn master_down() -> Seen {
    let mut both = blocking(|| {
        let master = server();
        let replica = Redis::builder()
            .arg("--replica-serve-stale-data")
            .arg("no")
            .replica_of(&master)
            .start();
        replica.wait_until_synchronised();
        (master, replica)
    });
    let app = guarded(&both.1.url()).await;
    observe(
        &app,
        &PLAN,
        &mut both,
        |(master, _)| master.stop(),
        |(master, replica)| {
            master.start_again();
            replica.wait_until_synchronised();
        },
    )
    .await
}

async fn cluster_down() -> Seen {
    // One node has every slot, so that no key leads anywhere else.
    let mut cluster = blocking(|| RedisCluster::start(1));
    let app = guarded(&cluster.nodes()[0].url()).await;
    observe(
        &app,
        &PLAN,
        &mut cluster,
        |cluster| cluster.lose_slot(0, 7),
        |cluster| {
            cluster.give_slot(0, 7);
            cluster.wait_until_whole();
        },
    )
    .await
}

async fn out_of_memory() -> Seen {
    let mut server = blocking(server);
    let app = guarded(&server.url()).await;
    observe(
        &app,
        &PLAN.asks("/write").beside("/"),
        &mut server,
        |server| say(server, "CONFIG SET maxmemory 1"),
        |server| say(server, "CONFIG SET maxmemory 0"),
    )
    .await
}

async fn full_for_newcomers(answers_after_ms: u64) -> Seen {
    let server = blocking(server);
    let relay = Relay::start(server.port());
    let app = guarded(&url_at(relay.port())).await;
    let session = Session::of(&server);
    // One session that takes 300 ms for each has no more to give.
    let rate = if answers_after_ms == 0 {
        PLAN.rate_per_sec
    } else {
        2.0
    };
    observe(
        &app,
        &PLAN.at(rate),
        &mut (server, relay, session),
        |(_, relay, session)| {
            session.say("CONFIG SET maxclients 1");
            relay.delay_answers(std::time::Duration::from_millis(answers_after_ms));
        },
        |(_, relay, session)| {
            session.say("CONFIG SET maxclients 100");
            relay.delay_answers(std::time::Duration::ZERO);
        },
    )
    .await
}

async fn password_rotated() -> Seen {
    let (server, mut session) = blocking(|| {
        let server = server();
        let session = Session::of(&server);
        (server, session)
    });
    session.say("CONFIG SET requirepass old");
    session.say("AUTH old");
    let app = guarded(&server.url_with("default", "old")).await;
    observe(
        &app,
        &PLAN,
        &mut (server, session),
        |(_, session)| session.say("CONFIG SET requirepass new"),
        |(_, session)| session.say("CONFIG SET requirepass old"),
    )
    .await
}

async fn proxy_without_server() -> Seen {
    let server = blocking(server);
    let relay = Relay::start(server.port());
    let app = guarded(&url_at(relay.port())).await;
    observe(
        &app,
        &PLAN,
        &mut (server, relay),
        |(_, relay)| {
            relay.close_new();
            relay.cut();
        },
        |(_, relay)| relay.pass_new(),
    )
    .await
}

async fn innocent() -> Seen {
    let mut server = blocking(server);
    let app = guarded(&server.url()).await;
    say(&server, "SET k 1");
    let plan = PLAN.then_asks("/wrong").beside("/").harmless();
    observe(&app, &plan, &mut server, |_| {}, |_| {}).await
}
