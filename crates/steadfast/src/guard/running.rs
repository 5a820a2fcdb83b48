//! What runs in the background, and who stops it.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use steadfast_core::{
    Cause, Name, Phase,
    limit::Change,
    plumbing::{BEAT, BackendChange, BackendNews, Declarer, inert, shape, spent_by},
};
use tokio::{runtime::RuntimeMetrics, task::JoinHandle};

use super::{Guard, Settings};
use crate::{
    background::{
        audit::Audit, breakers, cgroup_sampler::CgroupSampler, environment,
        host_sampler::HostSampler, incidents::Incidents, journal::Journal, metering::Meter,
        schedule, signals,
    },
    clock,
    instance::{
        Control,
        evidence::Known,
        readiness::overload::{self, Overload},
    },
    probe::listener::ProbeListener,
};

const SHED: Name = Name::from_static("shed");

const TENANTS: Name = Name::from_static("tenants");
const PACING: Name = Name::from_static("pacing");
const RUNTIME_LAG: Name = Name::from_static("runtime-lag");

const RESOURCES: Name = Name::from_static("resources");

const VERSION: Name = Name::from_static("version");

const RESERVE: Name = Name::from_static("reserve");

/// Most bytes read of the maintenance file; its first line is the reason.
const MAINTENANCE_FILE_MAX: u64 = 1024;

const STARTED_BEFORE: &str = "the guard was started before; start and serve are called once";

/// Everything a started guard runs. Dropped, it stops: the checks, the heartbeat, the
/// once-a-second round and the probe listener. Two things outlive it. The signal handlers
/// do, because a process that has them has lost the default: later signals still count,
/// and once the drain is over the next one ends the process. A drain that has begun does,
/// because it must end.
#[derive(Debug)]
#[must_use = "dropped, it stops the checks and the probe listener"]
pub struct Running {
    tasks: Vec<JoinHandle<()>>,
    probes: Vec<ProbeListener>,
    journal: Option<Arc<Journal>>,
    incidents: Arc<Incidents>,
    control: Control,
}

impl Running {
    pub(super) fn start(guard: &Guard) -> io::Result<Self> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            let fault =
                "Guard::start needs a tokio runtime; call it inside #[tokio::main] or block_on";
            return Err(io::Error::other(fault));
        };
        let control = guard.control();
        // A drain that was ordered before the start is no start: it is carried out.
        let leaves = || control.phase().is_some_and(Phase::is_leaving);
        if control.drain_state().runtime.get().is_some() || (control.phase().is_some() && !leaves())
        {
            return Err(io::Error::other(STARTED_BEFORE));
        }
        let service = guard.own_paths().0.profile.service.as_ref();
        let version = service.map(|(_, version)| version.clone());
        let version = version.or_else(environment::program::version);
        let journal = guard.settings.history_file.clone();
        let journal = journal
            .map(|path| Journal::start(path, version.as_deref(), control.clone()))
            .transpose()?
            .map(Arc::new);
        let probes = guard
            .settings
            .probe_listeners()
            .map(|at| ProbeListener::start(&at, guard.own_paths().clone(), runtime.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        // After what can fail, so that a process which goes on without the guard keeps its
        // default; before the rest, so that a signal during the start does not kill.
        if guard.settings.signals {
            signals::listen(control.clone())?;
        }
        let _ = control.drain_state().runtime.set(runtime);
        environment::warn(&guard.drain(), guard.settings.budget.as_ref());
        control.know(Known {
            version,
            stop_allowed: environment::stop_allowed(guard.settings.budget.as_ref()),
            idle: guard.settings.connections.idle,
            request_timeout: guard.settings.request_timeout,
        });
        let now = clock::now();
        // A signal may have come meanwhile.
        if !control.start(guard.settings.start, now) && !leaves() {
            return Err(io::Error::other(STARTED_BEFORE));
        }
        let mut tasks = Vec::new();
        // The first beat is now: a runtime that is blocked from its first moment on is
        // stalled too.
        control.readiness().pulse.beat(Duration::ZERO, now);
        control.shedder().begins_to_beat(now);
        tasks.push(tokio::spawn(beat(control.clone())));
        let incidents = Arc::new(Incidents::default());
        let service = guard.own_paths().0.profile.service.clone();
        let meter = Meter::new(guard.settings.name.as_deref(), service);
        let reporters = Reporters {
            meter,
            incidents: Arc::clone(&incidents),
            journal: journal.clone(),
        };
        let round = tick(control.clone(), guard.settings.clone(), reporters);
        tasks.push(tokio::spawn(round));
        tasks.extend(schedule::run_checks(control.readiness()));
        tasks.push(breakers::run_breakers(control.readiness()));
        #[cfg(feature = "systemd")]
        tasks.extend(environment::systemd::follow(&control));
        let probe_listener = probes.iter().find_map(ProbeListener::address);
        let probe_listener = probe_listener.map(|address| address.to_string());
        tracing::info!(
            target: crate::log::STATE,
            mounted = %guard.settings.mounted,
            probe_listener = probe_listener.as_deref().unwrap_or("none"),
            lame_duck_max = ?guard.drain().lame_duck_max, grace = ?guard.drain().grace,
            "guard started"
        );
        Ok(Self {
            tasks,
            probes,
            journal,
            incidents,
            control,
        })
    }

    /// Returns the address at which the probe listener listens, if it has one.
    #[must_use]
    pub fn probe_address(&self) -> Option<SocketAddr> {
        self.probes.iter().find_map(ProbeListener::address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.incidents.stop(self.control.explain().ledger());
        // It waits for the last line, a second at most: the process is about to end.
        if let Some(journal) = &self.journal {
            journal.end(&self.control);
        }
    }
}

/// The heartbeat of the runtime this was started on.
async fn beat(control: Control) {
    let mut busy = Busy::default();
    loop {
        let due = clock::now() + BEAT;
        tokio::time::sleep_until(due.into()).await;
        let now = clock::now();
        let lag = now.saturating_duration_since(due);
        control.readiness().pulse.beat(lag, now);
        control.shedder().beat(lag, now);
        let metrics = tokio::runtime::Handle::current().metrics();
        let busy_ratio = busy.since_the_last(&metrics, now);
        (control.shedder()).pace(lag, metrics.global_queue_depth(), busy_ratio, now);
        // One blocked worker among several is seen from here as well.
        control.workers().look(&metrics, now);
    }
}

/// How busy the workers of the runtime have been.
#[derive(Debug, Default)]
struct Busy {
    last: Option<(Instant, Duration)>,
}

impl Busy {
    /// The share of their time in which they had something to do, since the last call; 0 for
    /// the first.
    fn since_the_last(&mut self, metrics: &RuntimeMetrics, now: Instant) -> f64 {
        let workers = metrics.num_workers();
        let total = (0..workers)
            .map(|worker| metrics.worker_total_busy_duration(worker))
            .sum();
        let Some((at, before)) = self.last.replace((now, total)) else {
            return 0.0;
        };
        let there = now.saturating_duration_since(at).as_secs_f64() * workers as f64;
        if there > 0.0 {
            (total.saturating_sub(before).as_secs_f64() / there).min(1.0)
        } else {
            0.0
        }
    }
}

/// Who tells others once a second what the guard knows.
#[derive(Debug)]
struct Reporters {
    meter: Meter,
    incidents: Arc<Incidents>,
    journal: Option<Arc<Journal>>,
}

/// Notes that a limit has changed.
fn note_limit(control: &Control, change: &Change, why: &str) {
    let bound = |limit: Option<u32>| limit.map_or("no limit".to_owned(), |n| n.to_string());
    let (from, to) = (bound(change.from), bound(change.to));
    control.explain().note(&SHED, &from, &to, why);
}

/// What is done once a second.
async fn tick(control: Control, settings: Settings, mut reporters: Reporters) {
    let mut audit = Audit::default();
    let mut sampler = CgroupSampler::start("/".into());
    let host = HostSampler::start();
    let mut by_file = None;
    let mut overload = settings.unready_when_refusing.map(Overload::new);
    let mut deploy_is_noted = false;
    loop {
        if let Some(path) = &settings.maintenance_file {
            by_file = follow_file(&control, path, by_file).await;
        }
        control.expire_maintenance();
        for change in control.shedder().take_changes() {
            note_limit(&control, &change, &change.why.to_string());
        }
        for BackendChange { backend, news, .. } in control.shedder().take_backend_changes() {
            match news {
                BackendNews::Limit(change) => {
                    let why = format!("of {}: {}", spent_by(&backend), change.why);
                    note_limit(&control, &change, &why);
                }
                BackendNews::Route { route, apart, .. } => {
                    let own = format!("the limit of {backend}");
                    let (from, to, why) = match apart {
                        true => ("the common limit", own.as_str(), "spends"),
                        false => (own.as_str(), "the common limit", "no longer spends"),
                    };
                    let why = format!("{route} {why} most of its time with {backend}");
                    control.explain().note(&SHED, from, to, &inert(&why));
                }
                _ => {}
            }
        }
        for change in control.shedder().take_lag_changes() {
            let (from, to) = (change.from.code(), change.to.code());
            control
                .explain()
                .note(&RUNTIME_LAG, from, to, &change.to_string());
        }
        for change in control.shedder().take_pacing_changes() {
            let (from, to) = match change.pause {
                Some(_) => ("everybody read at once", "hasty clients paced"),
                None => ("hasty clients paced", "everybody read at once"),
            };
            (control.explain()).note(&PACING, from, to, &change.to_string());
        }
        for change in control.shedder().take_reserve_changes() {
            let places = |kept: u32| match kept {
                0 => "nothing kept".to_owned(),
                kept => format!("{kept} places kept"),
            };
            let (from, to) = (places(change.from), places(change.to));
            control
                .explain()
                .note(&RESERVE, &from, &to, &change.to_string());
        }
        for change in control.shedder().take_tenant_changes() {
            let (from, to) = match &change.share {
                Some(_) => ("everybody alike", "held to shares"),
                None => ("held to shares", "everybody alike"),
            };
            (control.explain()).note(&TENANTS, from, to, &change.to_string());
        }
        let now = clock::now();
        let sample = sampler.as_mut().and_then(|read| read.take(now));
        if let Some(change) = control.shedder().take_sample(sample, now) {
            let (from, to) = (change.from.code(), change.to.code());
            control
                .explain()
                .note(&RESOURCES, from, to, &change.to_string());
        }
        look_around(&control, host.as_ref(), now);
        if let Some(overload) = &mut overload {
            let seen = control.shedder().snapshot();
            control
                .readiness()
                .set_overloaded(overload.observe(seen.admitted, seen.refused));
        }
        // A maintenance may have ended by itself, a check gone stale: tell whoever waits.
        if control.phase().is_some_and(|phase| phase < Phase::Stopped) {
            control.readiness().publish();
        }
        if !deploy_is_noted {
            deploy_is_noted = tell_deploy(&control);
        }
        reporters.incidents.round(control.explain().ledger());
        reporters.meter.publish(&control, &reporters.incidents);
        audit.round(&control);
        if let Some(journal) = &reporters.journal {
            journal.follow(&control);
        }
        tokio::time::sleep(overload::ROUND).await;
    }
}

/// Looks who asks, and what the thread that reads the host has found.
fn look_around(control: &Control, host: Option<&HostSampler>, now: Instant) {
    for running in control.shedder().running(now) {
        control.traffic().routes.saw(&shape(&running.route), now);
    }
    let ledger = control.explain().ledger();
    let mut retries = control.traffic().retries();
    if retries.has_news(Cause::ALL.map(|cause| ledger.count(cause)).iter().sum()) {
        retries.look(&ledger.view().recent, now);
    }
    drop(retries);
    let (look, step) = host.map_or((None, None), HostSampler::take);
    if let Some(look) = look {
        control.around().look(look, now);
    }
    if let Some(step) = step {
        control.around().clock_stepped(step, now);
    }
}

/// Writes down that another version runs than before, once the history says which that was.
/// Returns whether there is nothing more to reporters.
fn tell_deploy(control: &Control) -> bool {
    let version = control.known().and_then(|known| known.version.clone());
    let (Some(version), Some(before)) = (version, control.past().version()) else {
        return false;
    };
    if version != before {
        let why = "a deploy: the process before this one was of another version";
        control.explain().note(&VERSION, &before, &version, why);
    }
    true
}

/// Begins or ends the maintenance that a file's presence declares. Returns its reason.
async fn follow_file(control: &Control, path: &Path, before: Option<String>) -> Option<String> {
    // A look that failed says nothing about presence: what was known stays.
    let Ok(reason) = read_reason(path).await else {
        return before;
    };
    match (&before, &reason) {
        (None, Some(reason)) => control.begin_maintenance_by(Declarer::File, reason, None),
        (Some(old), Some(new)) if old != new => {
            control.begin_maintenance_by(Declarer::File, new, None);
        }
        (Some(_), None) => control.end_maintenance_by(Declarer::File),
        _ => {}
    }
    reason
}

/// Returns the first line of the file, `None` if there is no file. A file that is there and
/// cannot be read declares maintenance all the same: its presence is what counts. Only a
/// plain file is opened, since opening a pipe waits for its writer.
async fn read_reason(path: &Path) -> io::Result<Option<String>> {
    use tokio::io::AsyncReadExt;
    let metadata = match tokio::fs::metadata(path).await {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    if metadata.is_file() {
        if let Ok(file) = tokio::fs::File::open(path).await {
            let _ = file.take(MAINTENANCE_FILE_MAX).read_to_end(&mut text).await;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim();
    Ok(Some(if line.is_empty() {
        "declared by file".to_owned()
    } else {
        line.to_owned()
    }))
}

/// Keeps `Running` shareable: it holds handles only.
const _: fn() = || {
    fn shareable<T: Send + Sync>() {}
    shareable::<Running>();
    shareable::<Arc<Guard>>();
};

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::plumbing::STALLED_AFTER;

    #[test]
    fn a_runtime_that_never_runs_a_task_after_the_start_is_stalled() {
        let guard = Guard::builder().without_signals().build().expect("valid");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        // This thread is the runtime's only one, and it does not come back to it.
        let running = runtime.block_on(async { guard.start() });
        let _running = running.expect("it starts");
        let control = guard.control();
        let pulse = &control.readiness().pulse;
        let silence = pulse.silent_for(clock::now() + STALLED_AFTER);
        assert!(silence >= STALLED_AFTER, "{silence:?}");
    }
}
