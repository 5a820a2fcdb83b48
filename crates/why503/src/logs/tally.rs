//! What has been counted so far. Each chunk of lines is counted on its own and merged in the
//! order of the file, because what HAProxy says of a server holds for the lines after it.

use std::collections::HashMap;

use super::{
    bytes,
    cause::Cause,
    entry::{Backend, Change, Complaint, Entry, Kind, Maker, Request, failed},
    format::{self, Format},
    input,
    join::{Asked, Join, key},
    route,
    timeline::Timeline,
    top::{ONCE, Row, Top},
};

/// Everything that is known after some lines.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lines: u64,
    /// Lines in no format that is known.
    pub(crate) unread: u64,
    /// Lines before `--since` or after `--until`.
    pub(crate) outside: u64,
    pub(crate) makers: [u64; Maker::ALL.len()],
    pub(crate) requests: u64,
    /// What access logs say.
    pub(crate) answered: Sheet,
    /// What error logs say, which may be about the same requests.
    pub(crate) complained: Sheet,
    pub(crate) backends: HashMap<Box<[u8]>, Life>,
    pub(crate) changes: Vec<Noted>,
    /// Changes that found no room.
    pub(crate) changes_left_out: u64,
    pub(crate) join: Join,
    /// What HAProxy has said last of each backend's servers.
    states: HashMap<Box<[u8]>, Backend>,
    /// What each thread of an error log complained of last: which request, and why.
    threads: HashMap<u64, (u64, Cause)>,
    /// The time of the last line that had one.
    clock: Option<i64>,
    pub(crate) first: Option<i64>,
    pub(crate) last: Option<i64>,
}

/// Failures, seen from one side.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    pub(crate) failed: u64,
    /// 502, 503 and 504.
    pub(crate) statuses: [u64; 3],
    pub(crate) causes: HashMap<Option<Cause>, u64>,
    pub(crate) timeline: Timeline,
    pub(crate) routes: Top,
    pub(crate) backends: Top,
}

/// From when to when a backend answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) requests: u64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// The last time that it answered well.
    pub(crate) well: Option<i64>,
}

/// A change, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) at: Option<i64>,
    pub(crate) text: Box<[u8]>,
}

/// Which lines are looked at, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) format: Format,
    pub(crate) since: Option<i64>,
    pub(crate) until: Option<i64>,
}

impl Tally {
    /// Counts a chunk of whole lines.
    pub(crate) fn of(chunk: &[u8], scope: Scope) -> Self {
        let mut tally = Self::default();
        let mut route = Vec::new();
        for line in input::lines(chunk) {
            tally.line(line, scope, &mut route);
        }
        tally
    }

    fn line(&mut self, line: &[u8], scope: Scope, route: &mut Vec<u8>) {
        if line.trim_ascii().is_empty() {
            return;
        }
        self.lines += 1;
        let Some(entry) = format::parse(line, scope.format) else {
            self.unread += 1;
            return;
        };
        let Entry { maker, time, kind } = entry;
        let at = time.or(self.clock);
        self.clock = at;
        let early = scope
            .since
            .is_some_and(|since| at.is_some_and(|it| it < since));
        let late = scope
            .until
            .is_some_and(|until| at.is_some_and(|it| it > until));
        if early || late {
            self.outside += 1;
            return;
        }
        self.makers[maker as usize] += 1;
        if let Some(at) = time {
            self.first = Some(self.first.map_or(at, |it| it.min(at)));
            self.last = Some(self.last.map_or(at, |it| it.max(at)));
        }
        match kind {
            Kind::Request(request) => self.request(at.unwrap_or(0), &request, route),
            Kind::Complaint(complaint) => self.complaint(at.unwrap_or(0), &complaint, route),
            Kind::Change(change) => self.change(at, &change),
            Kind::Other => {}
        }
    }

    fn request(&mut self, at: i64, request: &Request<'_>, route: &mut Vec<u8>) {
        self.requests += 1;
        let bad = failed(request.status);
        self.backend(at, request, bad);
        if !bad {
            self.answered.timeline.served(at, request.millis);
            return;
        }
        route::of(request.method, request.target, route);
        self.answered.timeline.asked(at);
        self.answered.status(request.status, 1);
        let mut why = request.cause;
        let mut backend = request.backend;
        if why == Some(Cause::HapNoServer) {
            backend = backend.strip_suffix(b"/<NOSRV>").unwrap_or(backend);
        }
        let nearest = self.states.get(backend).copied();
        if why == Some(Cause::HapNoServer) && nearest.is_some() {
            why = Some(told(nearest));
        } else if why.is_none_or(Cause::is_open) {
            let asked = Asked {
                at,
                request: key(request.client, request.method, request.target),
                path: key(request.client, b"", bytes::path(request.target)),
                client: key(request.client, b"", b""),
                status: request.status,
                why,
                route,
                backend,
            };
            if self.join.ask(&asked) {
                return;
            }
        }
        self.answered.fail(at, why, route, backend, 1);
    }

    fn backend(&mut self, at: i64, request: &Request<'_>, bad: bool) {
        if request.backend.is_empty() {
            return;
        }
        let well = (!bad && request.status != 0).then_some(at);
        if let Some(known) = self.backends.get_mut(request.backend) {
            known.requests += 1;
            known.first = known.first.min(at);
            known.last = known.last.max(at);
            known.well = known.well.max(well);
        } else if self.backends.len() < BACKENDS_MAX {
            let life = Life {
                requests: 1,
                first: at,
                last: at,
                well,
            };
            self.backends.insert(request.backend.into(), life);
        }
    }

    fn complaint(&mut self, at: i64, complaint: &Complaint<'_>, route: &mut Vec<u8>) {
        let request = key(complaint.client, complaint.method, complaint.target);
        let thread = key(complaint.thread, b"", b"");
        let before = self.threads.get(&thread).copied();
        let cause = before
            .filter(|_| complaint.again)
            .map_or(complaint.cause, |it| it.1);
        let known = before.is_some_and(|it| it.0 == request || complaint.again);
        let first = complaint.thread.is_empty() || !known;
        if self.threads.len() >= THREADS_MAX {
            self.threads.clear();
        }
        if !complaint.thread.is_empty() {
            self.threads.insert(thread, (request, cause));
        }
        // Apache names the path of some, and of others there is one per client at a time.
        if !complaint.target.is_empty() || cause == Cause::ApacheWorker {
            self.join.tell(at, request, cause, first || complaint.again);
        }
        if first {
            route::of(complaint.method, complaint.target, route);
            let status = match cause {
                Cause::NgxLimitReq
                | Cause::NgxLimitConn
                | Cause::ApacheWorker
                | Cause::CaddyNoUpstream => 503,
                Cause::NgxConnectTimeout | Cause::NgxReadTimeout | Cause::UpstreamSlow => 504,
                _ => 502,
            };
            self.complained.status(status, 1);
            self.complained
                .fail(at, Some(complaint.cause), route, complaint.backend, 1);
        }
    }

    fn change(&mut self, at: Option<i64>, change: &Change<'_>) {
        if let Some((backend, state)) = change.backend
            && (self.states.len() < BACKENDS_MAX || self.states.contains_key(backend))
        {
            self.states.insert(backend.into(), state);
        }
        self.note(Noted {
            at,
            text: change.text[..change.text.len().min(CHANGE_LEN_MAX)].into(),
        });
    }

    fn note(&mut self, noted: Noted) {
        // What repeats every second is told once a minute.
        let minute = |it: &Noted| it.at.map(|at| at.div_euclid(60));
        let recent = self.changes.iter().rev().take(REPEATS_WITHIN);
        if recent
            .into_iter()
            .any(|it| it.text == noted.text && minute(it) == minute(&noted))
        {
            return;
        }
        if self.changes.len() < CHANGES_MAX {
            self.changes.push(noted);
        } else {
            self.changes_left_out += 1;
        }
    }

    /// Takes over what the next chunk has counted.
    pub(crate) fn merge(&mut self, mut next: Self) {
        self.lines += next.lines;
        self.unread += next.unread;
        self.outside += next.outside;
        self.requests += next.requests;
        for (sum, more) in self.makers.iter_mut().zip(next.makers) {
            *sum += more;
        }
        self.answered.merge(next.answered);
        self.complained.merge(next.complained);
        self.first = self.first.into_iter().chain(next.first).min();
        self.last = self.last.max(next.last);
        for (name, life) in next.backends {
            self.live(name, life);
        }
        for mut noted in next.changes {
            noted.at = noted.at.or(self.clock);
            self.note(noted);
        }
        self.changes_left_out += next.changes_left_out;
        self.clock = next.clock.or(self.clock);
        // What was said before the chunk holds for its lines that had nothing nearer.
        next.join.settle(|asked| {
            let known = self.states.get(asked.backend).copied();
            (asked.why == Some(Cause::HapNoServer) && known.is_some()).then(|| told(known))
        });
        for (asked, why, count) in next.join.settled() {
            self.answered
                .fail(asked.at, why, asked.route, asked.backend, count);
        }
        for (asked, count) in self.join.merge(&next.join) {
            self.answered
                .fail(asked.at, asked.why, asked.route, asked.backend, count);
        }
        for (backend, state) in next.states {
            if self.states.len() < BACKENDS_MAX || self.states.contains_key(&backend) {
                self.states.insert(backend, state);
            }
        }
    }

    fn live(&mut self, name: Box<[u8]>, life: Life) {
        if let Some(known) = self.backends.get_mut(&name) {
            known.requests += life.requests;
            known.first = known.first.min(life.first);
            known.last = known.last.max(life.last);
            known.well = known.well.max(life.well);
        } else if self.backends.len() < BACKENDS_MAX {
            self.backends.insert(name, life);
        }
    }

    /// After the last line: what error logs said is joined to what was left open.
    pub(crate) fn finish(&mut self) {
        for (asked, why, count) in self.join.resolve() {
            self.answered
                .fail(asked.at, why, &asked.route, &asked.backend, count);
        }
    }
}

fn told(state: Option<Backend>) -> Cause {
    match state {
        Some(Backend::Down) => Cause::HapAllDown,
        Some(Backend::Maint) => Cause::HapMaint,
        Some(Backend::Up) | None => Cause::HapNoServer,
    }
}

impl Sheet {
    fn status(&mut self, status: u16, count: u64) {
        if let Some(at) = status.checked_sub(502).map(usize::from) {
            self.statuses[at.min(2)] += count;
        }
    }

    fn fail(&mut self, at: i64, why: Option<Cause>, route: &[u8], backend: &[u8], count: u64) {
        self.failed += count;
        *self.causes.entry(why).or_default() += count;
        self.timeline.failed(at, why, count);
        let row = Row { count, ..ONCE };
        self.routes.add(route, why, row);
        if !backend.is_empty() {
            self.backends.add(backend, why, row);
        }
    }

    fn merge(&mut self, next: Self) {
        self.failed += next.failed;
        for (sum, more) in self.statuses.iter_mut().zip(next.statuses) {
            *sum += more;
        }
        for (why, count) in next.causes {
            *self.causes.entry(why).or_default() += count;
        }
        self.timeline.merge(next.timeline);
        self.routes.merge(&next.routes);
        self.backends.merge(&next.backends);
    }
}

/// More servers than one proxy has; what comes after goes uncounted here, not in the causes.
const BACKENDS_MAX: usize = 4096;
/// Connections of an error log whose last complaint is remembered.
const THREADS_MAX: usize = 4096;
/// Enough for every server of a fleet to go down and come back a few times.
const CHANGES_MAX: usize = 4096;
/// Room for the sentence and its numbers.
const CHANGE_LEN_MAX: usize = 240;
/// How far back a repeated sentence is looked for.
const REPEATS_WITHIN: usize = 16;
