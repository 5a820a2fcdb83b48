//! How a guarded pool grows: whoever the bare pool would have served is served, whatever the
//! server makes of new connections.

use dependencies_tests::now;
use steadfast_core::{
    Deadline,
    plumbing::{PoolFit, PoolPressure},
};
use support::Relay;

use super::*;

/// A guard whose requests have the time that a busy machine takes.
fn guarded(
    pool: &PgPool,
    set: impl FnOnce(PoolGuardBuilder<Pg>) -> PoolGuardBuilder<Pg>,
) -> (PoolGuard<Pg>, Dependency) {
    let orders_db = Dependency::builder("orders-db").build().unwrap();
    let builder = guard(pool, &orders_db).wait_max(LONG).connect_max(LONG);
    (set(builder).build().unwrap(), orders_db)
}

fn patient(pool: &PgPool) -> (PoolGuard<Pg>, Dependency) {
    guarded(pool, |guard| guard)
}

/// Asks so often at once, each time for a query of so long; returns what was refused.
async fn at_once(db: &PoolGuard<Pg>, count: usize, ms: u32) -> Vec<Refusal> {
    let mut asked = JoinSet::new();
    for _ in 0..count {
        let db = db.clone();
        asked.spawn(async move { sleep(&db, ms).await });
    }
    let all = asked.join_all().await;
    all.into_iter().filter_map(refused).collect()
}

async fn sleep(db: &PoolGuard<Pg>, ms: u32) -> Result<(), sqlx::Error> {
    let mut connection = db.acquire().await?;
    let sql = sqlx::query("SELECT pg_sleep($1::float8 / 1000)").bind(f64::from(ms));
    sql.execute(&mut *connection).await?;
    Ok(())
}

fn refused(answer: Result<(), sqlx::Error>) -> Option<Refusal> {
    let error = answer.err()?;
    let refusal = Refusal::find(&error).cloned();
    Some(refusal.unwrap_or_else(|| panic!("{error:?}")))
}

fn port(postgres: &Postgres) -> u16 {
    let url = postgres.admin_url();
    let port = url.rsplit(':').next().unwrap();
    port.split('/').next().unwrap().parse().unwrap()
}

fn url_over(relay: &Relay, postgres: &Postgres) -> String {
    let (there, here) = (port(postgres).to_string(), relay.port().to_string());
    postgres.admin_url().replace(&there, &here)
}

#[tokio::test]
async fn a_burst_on_a_warm_pool_is_served() {
    let postgres = Postgres::builder().start();
    let (db, orders_db) = patient(&pool(&postgres.admin_url(), 10));
    for count in [10, 80, 200, 200] {
        let refused = at_once(&db, count, 2).await;
        assert_eq!(refused.len(), 0, "{:?}", refused[0]);
    }
    assert_eq!(failures(&orders_db), 0);
}

/// Goal: new connections that take longer than a connect may are nobody's misfortune while
/// one is there, and are there in the end.
#[tokio::test]
async fn slow_connects_refuse_nobody_while_a_connection_works() {
    let postgres = Postgres::builder().start();
    let relay = Relay::start(port(&postgres));
    let inner = pool(&url_over(&relay, &postgres), 10);
    let (db, orders_db) = guarded(&inner, |guard| guard.connect_max(Duration::from_secs(2)));
    wait_until("a connection", || async {
        at_once(&db, 1, 0).await.is_empty()
    })
    .await;
    let before = failures(&orders_db);
    relay.delay_connects(Duration::from_secs(5));
    wait_until("more connections", || async {
        let refused = at_once(&db, 10, 5).await;
        assert_eq!(refused.len(), 0, "{:?}", refused[0]);
        inner.num_idle() >= 5
    })
    .await;
    assert_eq!(failures(&orders_db), before);
    assert_eq!(breaker(&orders_db), BreakerState::Closed);
}

/// Goal: a cold pool at a server that is slow to connect grows while the load lasts.
#[tokio::test]
async fn a_cold_pool_grows_under_load() {
    let postgres = Postgres::builder().start();
    let relay = Relay::start(port(&postgres));
    relay.delay_connects(Duration::from_millis(1_000));
    let inner = pool(&url_over(&relay, &postgres), 10);
    let (db, orders_db) = patient(&inner);
    let stop = Arc::new(tokio::sync::Notify::new());
    let mut clients = JoinSet::new();
    for _ in 0..200 {
        let db = db.clone();
        let stop = Arc::clone(&stop);
        clients.spawn(async move {
            let stopped = stop.notified();
            tokio::pin!(stopped);
            let mut refused = 0;
            loop {
                tokio::select! {
                    () = &mut stopped => return refused,
                    answer = sleep(&db, 1) => {
                        refused += usize::from(answer.is_err());
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
    }
    wait_until("ten connections, under load", || async {
        db.snapshot().in_use == 10
    })
    .await;
    stop.notify_waiters();
    let refused: usize = clients.join_all().await.into_iter().sum();
    assert_eq!(refused, 0);
    assert_eq!(failures(&orders_db), 0);
}

/// Goal: a pool of eight whose role may have three sessions serves what a pool of three does,
/// says so, and takes more when it may.
#[tokio::test]
async fn a_role_with_less_room_than_places_serves_as_a_smaller_pool() {
    let postgres = Postgres::builder().start();
    let _ = postgres.sql("CREATE ROLE app LOGIN PASSWORD 'app' CONNECTION LIMIT 3");
    let inner = pool(&postgres.url("postgres", "app", "app"), 8);
    let (db, orders_db) = patient(&inner);
    // Cold: all eight are asked for at once.
    let refused = at_once(&db, 20, 20).await;
    assert_eq!(refused.len(), 0, "{:?}", refused[0]);
    // The server counts those who are just logging in, and may refuse more than it has to; what
    // room it has is then learned by the next who try.
    wait_until("room for three", || async {
        let refused = at_once(&db, 100, 20).await;
        assert_eq!(refused.len(), 0, "{:?}", refused[0]);
        db.snapshot().room == Some(3)
    })
    .await;
    let seen = db.snapshot();
    let trouble = seen.trouble.expect("the server has said so");
    assert!(trouble.failure.message().contains("53300"), "{trouble:?}");
    let advice = db.advice(None);
    assert_eq!(advice.fit, PoolFit::BeyondServer);
    assert!(advice.to_string().contains("room for 3 of 8"), "{advice}");
    assert_eq!(failures(&orders_db), 0);
    assert_eq!(breaker(&orders_db), BreakerState::Closed);

    // Three are in use, and that is all there are.
    let mut held = Vec::new();
    while held.len() < 3 {
        held.push(db.acquire().await.unwrap());
    }
    let pressure = orders_db.view().pool.map(|pool| pool.pressure);
    assert_eq!(pressure, Some(PoolPressure::Saturated));
    let in_time = db.acquire_before(Some(Deadline::after(now(), Duration::from_millis(300))));
    let error = in_time.await.map(drop).unwrap_err();
    let refusal = Refusal::find(&error).cloned().expect("it is refused");
    let said = exhausted(&refusal, FailureClass::RefusedByServer);
    let sentence = said.last_error.as_deref().expect("the server said why");
    assert!(
        sentence.starts_with("the server has room for 3 of 8: "),
        "{sentence}"
    );
    drop(held);
    let _ = postgres.sql("ALTER ROLE app CONNECTION LIMIT 20");
    wait_until("eight connections", || async {
        let _ = at_once(&db, 40, 20).await;
        // One that is being opened counts too.
        inner.size() == 8 && db.snapshot().room.is_none()
    })
    .await;
}

/// Goal: a password that was changed is told to whoever operates it, and refuses nobody as
/// long as the connections that are there do.
#[tokio::test]
async fn a_password_that_was_changed_stops_growth_and_not_service() {
    let postgres = Postgres::builder().start();
    let _ = postgres.sql("CREATE ROLE app LOGIN PASSWORD 'app'");
    let inner = pool(&postgres.url("postgres", "app", "app"), 4);
    let (db, orders_db) = patient(&inner);
    assert!(at_once(&db, 1, 0).await.is_empty());
    let _ = postgres.sql("ALTER ROLE app PASSWORD 'new'");
    wait_until("that it is seen", || async {
        let refused = at_once(&db, 10, 10).await;
        assert_eq!(refused.len(), 0, "{:?}", refused[0]);
        db.snapshot().trouble.is_some()
    })
    .await;
    let trouble = db.snapshot().trouble.expect("it is seen");
    assert_eq!(trouble.failure.class(), FailureClass::Auth, "{trouble:?}");
    assert_eq!(failures(&orders_db), 0);
}
