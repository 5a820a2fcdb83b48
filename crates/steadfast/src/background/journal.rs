//! Keeps the history of the process in a file, for the page of the next one.
//!
//! ```text
//! once a second: what is new in the ledger ──channel──▶ the journal's thread ──▶ file
//!                                                        └─ at its start: file ──▶ Past
//! ```
//!
//! All reading and writing is done by one thread of its own, so a disk that hangs stops
//! neither a request nor the metrics; what it cannot take meanwhile is told again by the next
//! round, as far as the ledger still has it. Each batch opens the file anew and appends, so
//! that the process before, which may still be leaving, writes into the same file; when it
//! has grown too large its older half is left out.

mod file;

use std::{
    io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use steadfast_core::{
    Cause, Rule,
    plumbing::{Incident, inert},
};

use self::file::File;
use crate::{
    clock,
    instance::{
        Control,
        past::{Event, Line},
    },
    refusal::facts::Facts,
};

/// Batches that wait for the disk; one a second while something happens.
const BATCHES_MAX: usize = 16;

/// How often a process that has nothing to say says that it is there.
const ALIVE_EVERY: Duration = Duration::from_secs(60);

/// How often the file is read again at the beginning: the process before may still be
/// leaving, and says so only at its end.
const READ_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// For how long it is.
const READ_AGAIN_FOR: Duration = Duration::from_secs(120);

/// Longest that the end of the process waits for the last line.
const LAST_LINE_MAX: Duration = Duration::from_secs(1);

/// The journal of a process that runs.
#[derive(Debug)]
pub(crate) struct Journal {
    run: String,
    /// `None` once the end was told.
    tell: Mutex<Option<mpsc::SyncSender<Vec<Line>>>>,
    /// Somebody to wait for: gone when all is written.
    written: Mutex<mpsc::Receiver<()>>,
    seen: Mutex<Seen>,
}

/// What was told.
#[derive(Debug)]
struct Seen {
    changes: u64,
    refusals: u64,
    open: Vec<Incident>,
    said_at: Instant,
}

impl Journal {
    /// Begins to write.
    ///
    /// # Errors
    /// There cannot be such a file, or there is no thread to be had.
    pub(crate) fn start(
        path: PathBuf,
        version: Option<&str>,
        control: Control,
    ) -> io::Result<Self> {
        let file = File::new(path)?;
        let now = clock::now();
        let run = format!(
            "{:x}-{:x}",
            clock::wall(control.made_at()).as_millis(),
            std::process::id()
        );
        let (tell, told) = mpsc::sync_channel(BATCHES_MAX);
        let (writes, written) = mpsc::channel();
        let own = run.clone();
        let first = Line {
            run: run.clone(),
            event: Event::Started {
                at: clock::rfc3339(control.made_at()),
                version: version.map(str::to_owned),
                pid: std::process::id(),
            },
        };
        let thread = thread::Builder::new().name("steadfast-journal".to_owned());
        thread.spawn(move || {
            // Dropped at the end, which is what the other side waits for.
            let _writes: mpsc::Sender<()> = writes;
            write(&file, &own, &first, &told, &control);
        })?;
        Ok(Self {
            run,
            tell: Mutex::new(Some(tell)),
            written: Mutex::new(written),
            seen: Mutex::new(Seen {
                changes: 0,
                refusals: 0,
                open: Vec::new(),
                said_at: now,
            }),
        })
    }

    /// Tells what is new. Never waits for the disk.
    pub(crate) fn follow(&self, control: &Control) {
        let now = clock::now();
        let mut seen = lock(&self.seen);
        let (news, after) = seen.news(control, now);
        if news.is_empty() {
            return;
        }
        let tell = lock(&self.tell);
        let taken = tell.as_ref().map(|tell| tell.try_send(self.lines(news)));
        if let Some(Ok(())) = taken {
            *seen = after;
        }
    }

    /// Tells how the process ends, and waits a moment until it is written.
    pub(crate) fn end(&self, control: &Control) {
        let Some(tell) = lock(&self.tell).take() else {
            return;
        };
        let now = clock::now();
        let mut seen = lock(&self.seen);
        let (mut news, _) = seen.news(control, now);
        let lasting = std::mem::take(&mut seen.open);
        drop(seen);
        let ledger = control.explain().ledger().incidents();
        news.extend(ledger.iter().filter_map(|incident| {
            let goes_on = incident.is_open(now) || lasting.iter().any(|it| is_same(it, incident));
            goes_on.then(|| over(incident))
        }));
        let how = match control.report() {
            Some(report) => report.summary(),
            None if control
                .phase()
                .is_some_and(steadfast_core::Phase::is_leaving) =>
            {
                "in the middle of its drain".to_owned()
            }
            None => "stopped without a drain".to_owned(),
        };
        news.push(Event::Ended {
            at: clock::rfc3339(now),
            how: inert(&how).into(),
        });
        // Full only if the disk hangs, and then nothing will be written.
        let _ = tell.try_send(self.lines(news));
        drop(tell);
        let _ = lock(&self.written).recv_timeout(LAST_LINE_MAX);
    }

    fn lines(&self, news: Vec<Event>) -> Vec<Line> {
        let line = |event| Line {
            run: self.run.clone(),
            event,
        };
        news.into_iter().map(line).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    /// Returns what is new, and what is known once that was told.
    fn news(&self, control: &Control, now: Instant) -> (Vec<Event>, Self) {
        let ledger = control.explain().ledger();
        let (changes, fresh) = ledger.changes_after(self.changes);
        let mut news: Vec<_> = fresh
            .iter()
            .map(|change| Event::Changed {
                at: clock::rfc3339(change.at),
                subject: change.subject.to_string(),
                from: inert(&change.from).into(),
                to: inert(&change.to).into(),
                why: inert(&change.why).into(),
            })
            .collect();
        let refusals = Cause::ALL.map(|cause| ledger.count(cause)).iter().sum();
        let mut open = Vec::new();
        if refusals != self.refusals || !self.open.is_empty() {
            // Oldest first, as they are written.
            for incident in ledger.incidents().into_iter().rev() {
                let known = self.open.iter().any(|it| is_same(it, &incident));
                if incident.is_open(now) {
                    if !known {
                        news.push(began(&incident));
                    }
                    open.push(incident);
                } else if known {
                    news.push(over(&incident));
                }
            }
        }
        let quiet = now.saturating_duration_since(self.said_at) >= ALIVE_EVERY;
        if news.is_empty() && quiet {
            news.push(Event::Alive {
                at: clock::rfc3339(now),
            });
        }
        let said_at = match news.is_empty() {
            true => self.said_at,
            false => now,
        };
        let after = Self {
            changes,
            refusals,
            open,
            said_at,
        };
        (news, after)
    }
}

fn is_same(one: &Incident, other: &Incident) -> bool {
    (one.cause, &one.source, one.first) == (other.cause, &other.source, other.first)
}

fn began(incident: &Incident) -> Event {
    Event::Began {
        at: clock::rfc3339(incident.first),
        cause: incident.cause.code().to_owned(),
        rule: incident.rule.map_or("", Rule::code).to_owned(),
        source: incident.source.to_string(),
        evidence: Facts::of(&incident.evidence),
    }
}

fn over(incident: &Incident) -> Event {
    Event::Over {
        at: clock::rfc3339(incident.last),
        cause: incident.cause.code().to_owned(),
        source: incident.source.to_string(),
        first: clock::rfc3339(incident.first),
        count: incident.count,
    }
}

/// The thread: reads what others wrote, then writes until nobody tells it anything more.
fn write(
    file: &File,
    own: &str,
    first: &Line,
    told: &mpsc::Receiver<Vec<Line>>,
    control: &Control,
) {
    let began = clock::now();
    control.past().set(file.read(own));
    file.append(std::slice::from_ref(first));
    loop {
        match told.recv_timeout(READ_AGAIN_EVERY) {
            Ok(lines) => file.append(&lines),
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if clock::now().saturating_duration_since(began) < READ_AGAIN_FOR {
            control.past().set(file.read(own));
        }
    }
}
