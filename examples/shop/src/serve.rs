//! `shop`: everything is made, then served until a signal has led to the end of the drain.

use std::{process::ExitCode, sync::Arc, time::Duration};

use sqlx::migrate::MigrateError;
use steadfast::{Dependency, Guard, GuardConfig, Probes};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{
    Fatal,
    app::{self, Shop},
    cache, checks, hints, listen, log, metrics,
    payments::{Payments, stand_in::StandIn},
    settings::Settings,
    store::Pool,
    writes::Writes,
};

/// How long the start waits for the tables. A database that is down must not keep the
/// service from listening and saying so.
const MIGRATE_WAIT: Duration = Duration::from_secs(1);

/// Between two attempts to reach a database that is down.
const MIGRATE_RETRY: Duration = Duration::from_secs(1);

/// Serves until it is told to stop. Returns the status to exit with: 75 if the drain cut
/// anything that had begun, so that whoever deploys notices.
pub(crate) async fn run() -> Result<ExitCode, Fatal> {
    log::begin();
    let settings = Settings::from_env()?;
    // Dropped last, when nobody has the file open any more.
    let directory = TempDir::with_prefix("shop-").map_err(Fatal::new)?;
    let pool = match &settings.database_url {
        Some(url) => Pool::open(url)?,
        None => Pool::open_temporary(&directory),
    };
    let (stand_in, payments) = match &settings.payments_url {
        Some(url) => (None, Payments::new(url)?),
        None => {
            let (stand_in, url) = StandIn::start().await.map_err(Fatal::new)?;
            (Some(stand_in), Payments::new(&url)?)
        }
    };
    let orders_db = checks::orders_db(&pool)?;
    let mut dependencies = vec![
        orders_db.clone(),
        checks::schema(&pool)?,
        payments.dependency.clone(),
    ];
    let cache = match &settings.redis_url {
        Some(url) => {
            let pool = cache::Pool::open(url)?;
            let dependency = checks::cache(&pool)?;
            dependencies.push(dependency.clone());
            Some(pool.guard(&dependency).map_err(Fatal::config)?)
        }
        None => None,
    };
    let metrics = match settings.metrics_addr {
        Some(addr) => Some(metrics::serve(addr).await?),
        None => None,
    };
    let guard = guard(&settings, &dependencies)?;
    let listener = listen::listen("ADDR", &settings.addr).await?;
    let address = listener.local_addr().map_err(Fatal::new)?;
    migrate(&pool).await?;

    let shop = Arc::new(Shop {
        store: pool.guard(&orders_db).map_err(Fatal::config)?,
        orders_db,
        cache,
        payments,
        stand_in,
        token: settings.token.value.clone(),
        writes: Writes::default(),
        control: guard.control(),
    });
    let writes = shop.writes.clone();
    hints::print(
        &format!("http://{address}"),
        &settings.token,
        shop.stand_in.is_some(),
        metrics,
    );
    let app = app::router(shop);
    let report = app::serve(&guard, listener, app)
        .await
        .map_err(|error| listen::not_served(settings.probe_addr, &error))?;
    writes.wait().await;
    // A connection that never comes back must not keep the process: it ends all the same.
    let _ = tokio::time::timeout(CLOSE_MAX, pool.close()).await;
    Ok(ExitCode::from(report.exit_status()))
}

/// Longest wait for the pool to close. With lame duck, grace and the last writes it stays
/// within the 30 s that a process manager grants.
const CLOSE_MAX: Duration = Duration::from_secs(1);

fn guard(settings: &Settings, dependencies: &[Dependency]) -> Result<Guard, Fatal> {
    let probes = Probes::default().aliases().built(steadfast::build!());
    let mut guard = Guard::builder().probes(probes).token(&settings.token.value);
    for dependency in dependencies {
        guard = guard.dependency(dependency);
    }
    if let Some(address) = settings.probe_addr {
        guard = guard.probe_listener(address);
    }
    if let Some(file) = &settings.config_file {
        guard = guard.config(read_config(file)?);
    }
    // Over the file, so that one setting can be tried without editing it.
    guard = guard.config(GuardConfig::from_env("STEADFAST").map_err(Fatal::config)?);
    guard.build().map_err(Fatal::config)
}

fn read_config(file: &str) -> Result<GuardConfig, Fatal> {
    GuardConfig::from_toml_file(file)
        .map_err(|error| Fatal::new(format!("STEADFAST_CONFIG: {}", Fatal::config(error))))
}

/// Brings the tables up to date. If the database is down this goes on in the background,
/// while readiness says that the service is starting; tables that are wrong end it.
async fn migrate(pool: &Pool) -> Result<(), Fatal> {
    let pool = pool.clone();
    let (tell, told) = oneshot::channel();
    // On a task, because a migration must not be cut when the wait for it is over.
    tokio::spawn(async move {
        while let Err(error) = pool.migrate().await {
            match error {
                // A server may come up yet; a file that cannot be opened will not.
                MigrateError::Execute(_) if pool.is_remote() => {
                    tracing::debug!(%error, "no tables yet");
                }
                error => {
                    if let Err(error) = tell.send(error) {
                        // Nobody waits any more; readiness stays at `starting`.
                        tracing::error!(%error, "the tables cannot be made");
                    }
                    return;
                }
            }
            tokio::time::sleep(MIGRATE_RETRY).await;
        }
    });
    match tokio::time::timeout(MIGRATE_WAIT, told).await {
        Ok(Ok(error)) => Err(Fatal::new(format!(
            "the tables cannot be made in DATABASE_URL: {error}"
        ))),
        // The task has ended without a fault.
        Ok(Err(_)) => Ok(()),
        Err(_) => {
            tracing::warn!("the database does not answer; the tables follow when it does");
            Ok(())
        }
    }
}
