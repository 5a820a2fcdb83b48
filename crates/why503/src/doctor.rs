//! The stages of a run, under one deadline.
//!
//! First the name, the local listener and one probe; what they found decides whom to ask next.
//! Then everything at the same time: the other probes, the host, what stands in front and what
//! stands behind. Whoever is late is left behind, and what it had is lost, so a run ends in time
//! whatever hangs.

use std::{pin::Pin, process::ExitCode, sync::Mutex, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use steadfast_diagnosis::{Diagnosis, Evidence, Host, Id, Path, State, Text, Tied, Via, diagnose};
use tokio::time::Instant;

use crate::{
    bundle,
    cli::Options,
    clock::{self, Clocks},
    collect::{Found, Job},
    dependency, exit, hops, host, kubernetes,
    library::{self, Refusal},
    logs,
    output::{self, Progress},
    probe::{Probe, Question, Ration, WAIT_MAX, ask, resolve},
    proxy, services,
    target::Target,
    watch,
};

pub(crate) mod observe;

/// What a run found.
#[derive(Debug)]
pub(crate) struct Report {
    /// Of which service.
    pub(crate) target: String,
    /// What was seen.
    pub(crate) evidence: Evidence,
    /// What it amounts to.
    pub(crate) diagnosis: Diagnosis,
    /// The probes, in the order in which they were sent.
    pub(crate) probes: Vec<Probe>,
    /// The refusals that `--explain` asked for.
    pub(crate) refusals: Vec<Refusal>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Report {
    /// The exit code that it amounts to.
    pub(crate) fn code(&self) -> u8 {
        code(self.diagnosis.verdict.state)
    }
}

/// The exit code of a state.
pub(crate) fn code(state: State) -> u8 {
    match state {
        State::Well => exit::WELL,
        State::AtRisk => exit::RISK,
        State::Explained => exit::PROVEN,
        State::Suspected => exit::SUSPECTS,
        State::Unreachable => exit::UNREACHABLE,
        // A state of a later version is one that is not known here.
        _ => exit::UNKNOWN,
    }
}

/// Between two probes of a run: long enough to add no load, short enough for three in two seconds.
const PROBE_GAP: Duration = Duration::from_millis(500);

/// Probes that wait at the same time; who does not answer is not asked more and more.
const OPEN_MAX: usize = 2;

/// For so long the other stages wait for the first probe, which tells them whom to ask.
const FIRST_MAX: Duration = Duration::from_millis(1500);

/// For the diagnosis and the output.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// Does what the options say.
pub(crate) fn run(options: &Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("why503: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(dispatch(options));
    // A resolver or a disk that hangs keeps its thread, and nobody waits for it.
    runtime.shutdown_background();
    let kept = matches!(code, exit::UNREACHABLE | exit::USAGE);
    ExitCode::from(if options.exit_zero && !kept {
        exit::WELL
    } else {
        code
    })
}

async fn dispatch(options: &Options) -> u8 {
    if let Some(file) = &options.offline {
        return match bundle::read(file) {
            Ok(report) => tell(&report, options),
            Err(fault) => wrong(&fault),
        };
    }
    let Some(target) = target_of(options) else {
        return services::run(options).await;
    };
    if options.watch {
        return watch::run(&target, options).await;
    }
    let progress = Progress::new(options);
    let report = examine(&target, options, PROBE_GAP, None, &progress).await;
    progress.done();
    if let Some(file) = &options.bundle
        && let Err(fault) = bundle::write(&report, file)
    {
        return wrong(&fault);
    }
    tell(&report, options)
}

/// The target that is named, or the port of the process that is.
fn target_of(options: &Options) -> Option<Target> {
    let port = options.port.or_else(|| {
        let listeners = host::Sockets::read().listeners();
        let own = |pid: u32| {
            listeners
                .iter()
                .find(|it| it.pids.contains(&pid))
                .map(|it| it.addr.port())
        };
        options.pid.and_then(own)
    });
    let named = || Target::parse(&port?.to_string()).ok();
    options.target.clone().or_else(named)
}

fn tell(report: &Report, options: &Options) -> u8 {
    output::print(report, options);
    report.code()
}

fn wrong(fault: &str) -> u8 {
    eprintln!("why503: {}", Text::new(fault));
    exit::USAGE
}

/// Looks at everything, and diagnoses.
///
/// `seen` is a probe that was sent already; it counts.
pub(crate) async fn examine(
    target: &Target,
    options: &Options,
    gap: Duration,
    seen: Option<Probe>,
    progress: &Progress,
) -> Report {
    let since = clock::now();
    let clocks = Clocks::read();
    let deadline = since + options.budget.saturating_sub(LAST_WORDS);
    let ration = Ration::new(options.probes);
    progress.say("asking the service");
    let prober = Prober {
        target,
        options,
        ration: &ration,
        since,
        deadline,
    };
    // It is at least one.
    ration.take();
    let mut first: Asked<'_> = match seen {
        Some(seen) => Box::pin(std::future::ready(Probe {
            at: Duration::ZERO,
            ..seen
        })),
        None => Box::pin(prober.given()),
    };
    let (mut found, early) = {
        let early = tokio::time::timeout(FIRST_MAX, &mut first);
        let (found, early) = tokio::join!(locate(target, options, deadline), early);
        (found, early.ok())
    };
    found.first.clone_from(&early);
    let pending = early.is_none().then_some(first);
    let refusals = Mutex::new(Vec::new());
    let job = Job {
        target,
        options,
        deadline,
        since,
        ration: &ration,
        refusals: &refusals,
        found: &found,
    };
    // What a proxy's own check asks for is asked at the service too.
    let aside = u8::from(proxy::stands_at(&job, found.port));
    progress.say("looking at the host, and at what stands around the service");
    let mut probes: Vec<Probe> = early.into_iter().collect();
    let (rest, evidence) = tokio::join!(
        prober.rest(pending, gap, found.first.as_ref(), aside),
        collect(&job)
    );
    probes.extend(rest);
    probes.sort_by_key(|it| it.at);
    let mut evidence = evidence;
    evidence.extend(host::last_lines(&found));
    for probe in &probes {
        observe::tell(probe, target, &mut evidence);
    }
    if let (Some(begin), Some(end)) = (clocks, Clocks::read()) {
        let (by, backwards) = end.step_since(&begin);
        let source = "CLOCK_REALTIME, CLOCK_BOOTTIME";
        evidence.saw(source, Tied::Host, Host::ClockStep { by, backwards });
    }
    describe(target, options, &found, &mut evidence);
    Report {
        target: target.to_string(),
        diagnosis: diagnose(&evidence),
        evidence,
        probes,
        refusals: refusals
            .into_inner()
            .expect("nothing panics while it notes"),
        took: clock::now().saturating_duration_since(since),
    }
}

/// Fills in what the commands of a fix are made of.
fn describe(target: &Target, options: &Options, found: &Found, evidence: &mut Evidence) {
    evidence.target.url = Some(Text::new(&target.to_string()));
    evidence.target.port = Some(found.port).filter(|it| *it != 0);
    evidence.target.pid = found.owners.first().copied();
    let unit = options
        .unit
        .clone()
        .or_else(|| host::unit::of(*found.owners.first()?));
    evidence.target.unit = unit.as_deref().map(Text::new);
}

/// Who listens where the target's name leads.
async fn locate(target: &Target, options: &Options, deadline: Instant) -> Found {
    let within = |most: Duration| deadline.saturating_duration_since(clock::now()).min(most);
    let addresses = if target.socket.is_some() {
        Vec::new()
    } else {
        let found = tokio::time::timeout(within(NAME_MAX), resolve(target)).await;
        found.ok().and_then(Result::ok).unwrap_or_default()
    };
    let pid = match (&options.pid, &options.unit) {
        (Some(pid), _) => Some(*pid),
        (None, Some(unit)) => host::unit::main_process(unit, within(NAME_MAX)).await,
        (None, None) => None,
    };
    let (target, port) = (target.clone(), options.port);
    let asked = addresses.clone();
    let look = tokio::task::spawn_blocking(move || host::locate(&target, port, pid, &asked));
    let found = tokio::time::timeout(within(LOCATE_MAX), look).await;
    let found = found.ok().and_then(Result::ok).unwrap_or_default();
    Found { addresses, ..found }
}

/// A resolver that takes longer is a finding, and the first probe makes it.
const NAME_MAX: Duration = Duration::from_millis(1500);

/// `/proc` of a host with a million sockets.
const LOCATE_MAX: Duration = Duration::from_secs(3);

async fn collect(job: &Job<'_>) -> Evidence {
    let late = job.deadline.saturating_duration_since(clock::now());
    let parts: [(Id, Part<'_>); 7] = [
        (Id::AppNotReady, Box::pin(library::collect(job))),
        (Id::HostFirewallDrop, Box::pin(hops::collect(job))),
        (Id::AppHung, Box::pin(host::collect(job))),
        (Id::ProxyUpstreamDown, Box::pin(proxy::collect(job))),
        (Id::K8sNoEndpoints, Box::pin(kubernetes::collect(job))),
        (Id::DepUnreachable, Box::pin(dependency::collect(job))),
        (Id::ProxyPassthrough, Box::pin(logs::collect(job))),
    ];
    // Each is cut on its own, so one that hangs costs only what it had.
    let cut = parts
        .into_iter()
        .map(|(id, part)| async move { (id, tokio::time::timeout(late, part).await.ok()) });
    let mut open: FuturesUnordered<_> = cut.collect();
    let mut all = Evidence::new();
    while let Some((id, part)) = open.next().await {
        match part {
            Some(part) => all.extend(part),
            None => all.could_not(id, "the time was over", "give a longer --budget"),
        }
    }
    all
}

type Part<'a> = Pin<Box<dyn Future<Output = Evidence> + 'a>>;

type Asked<'a> = Pin<Box<dyn Future<Output = Probe> + 'a>>;

/// Sends the probes of the URL that was given.
struct Prober<'a> {
    target: &'a Target,
    options: &'a Options,
    ration: &'a Ration,
    since: Instant,
    deadline: Instant,
}

impl Prober<'_> {
    async fn given(&self) -> Probe {
        // All that wait end together, so silence costs one wait and not two.
        let end = self.deadline.min(self.since + WAIT_MAX);
        let left = end.saturating_duration_since(clock::now());
        let question = Question {
            target: self.target,
            via: Via::Given,
            path: Path::Given,
            headers: &self.options.headers,
            http: self.options.http,
            address: None,
            wait: left,
        };
        ask(&question, self.since).await
    }

    /// The other probes, and the first if it still waits.
    async fn rest<'a>(
        &'a self,
        first: Option<Asked<'a>>,
        gap: Duration,
        answered: Option<&Probe>,
        aside: u8,
    ) -> Vec<Probe> {
        let mut left = planned(self.options.probes, answered, aside).saturating_sub(1);
        let mut open: FuturesUnordered<Asked<'a>> = first.into_iter().collect();
        let mut probes = Vec::new();
        let mut next = tokio::time::interval_at(clock::now() + gap, gap);
        while left > 0 || !open.is_empty() {
            tokio::select! {
                Some(probe) = open.next(), if !open.is_empty() => probes.push(probe),
                _ = next.tick(), if left > 0 => {
                    if clock::now() >= self.deadline || !(open.len() < OPEN_MAX && self.ration.take()) {
                        left = if open.len() < OPEN_MAX { 0 } else { left - 1 };
                        continue;
                    }
                    left -= 1;
                    open.push(Box::pin(self.given()));
                }
            }
        }
        probes
    }
}

/// How many of the probes ask for the URL itself; the others ask beside it.
fn planned(probes: u8, answered: Option<&Probe>, aside: u8) -> u8 {
    let others = match answered.and_then(|it| it.answer.as_ref()) {
        // Who is silent is asked for no other path.
        None => 1,
        Some(answer) if answer.headers.contains_key("why-503") => 3,
        Some(_) => 2,
    };
    probes - (others + aside).min(probes - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_probes_ask_for_the_url_itself() {
        let planned: Vec<u8> = (1..=6).map(|it| planned(it, None, 0)).collect();
        assert_eq!(planned, [1, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn every_state_has_its_code() {
        let codes = [
            State::Well,
            State::AtRisk,
            State::Explained,
            State::Suspected,
            State::Unexplained,
            State::Unreachable,
        ];
        assert_eq!(codes.map(code), [0, 13, 10, 11, 12, 20]);
    }
}
