//! The generator: a process of its own that sends on time, whatever becomes of the answers.
//!
//! One thread, one epoll, raw HTTP/1 over as many keep-alive connections as are needed. A
//! request that was meant to be sent at a moment counts from that moment, also when this
//! process was late; how late it was is counted too, so that a reader sees when the
//! generator was the limit. Everything is bounded: connections by [`CONNECTIONS_MAX`],
//! time by the act and the deadline of the last request.
//!
//! Probes are counted like requests, and go over connections of their own, as balancers and
//! kubelets have them: in turn one that is kept, and a new one.

use std::{
    collections::VecDeque,
    io::{self, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    fd::OwnedFd,
};

use self::{
    tally::{Bins, Counts, Ending, Said, Tally},
    wire::{Connection, Progress},
};
use super::plan::{Act, DEADLINE_SECS, Load};
use crate::clock;

pub(crate) mod tally;
mod wire;

/// Ten times the capacity for as long as the deadline, for a capacity of 1,800 a second.
/// Below the 20,000 descriptors that a process commonly may have.
const CONNECTIONS_MAX: usize = 9_000;

/// Requests sent before answers are looked at again.
const SENT_AT_ONCE_MAX: usize = 32;

/// Answers looked at in one turn.
const EVENTS_MAX: usize = 256;

/// Between two probes.
const PROBE_SECS: f64 = 0.1;

/// What one request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Work,
    Probe,
}

#[derive(Clone, Copy)]
struct Pending {
    meant_at: f64,
    sent_at: f64,
    phase: usize,
    kind: Kind,
    /// Whether the phase had settled.
    counts: bool,
    /// The number of its path, and what it needs, over the mean.
    path: usize,
    work: f64,
}

/// A place for a connection. The serial tells what runs on it now from what ran before.
#[derive(Default)]
struct Place {
    connection: Option<Connection>,
    pending: Option<Pending>,
    serial: u32,
}

struct Client {
    act: Act,
    address: SocketAddr,
    started: Instant,
    epoll: OwnedFd,
    places: Vec<Place>,
    /// Connected places without a request; the one that has rested longest goes next if there
    /// are many on purpose, else the one that has rested least.
    idle: VecDeque<usize>,
    /// Places without a connection.
    empty: Vec<usize>,
    /// When pending requests were meant to be sent, in that order.
    deadlines: VecDeque<(f64, usize, u32)>,
    /// In the order of the act's paths.
    requests: Vec<&'static [u8]>,
    probe: &'static [u8],
    tallies: Vec<Tally>,
    bins: Bins,
    outstanding: usize,
    phase: usize,
    phase_at: f64,
    /// Work sent since the phase began.
    sent: u64,
    next_probe_at: f64,
    /// The place whose connection is kept for probes, while none is under way on it.
    prober: Option<usize>,
    probes_sent: u64,
    mix: sim::rng::Rng,
}

/// Carries out an act and says on standard output how it goes.
pub(crate) fn run(act: Act, address: SocketAddr) -> io::Result<()> {
    let mut client = Client::new(act, address)?;
    for _ in 0..client.act.connections {
        let opened = client.open();
        client.idle.extend(opened);
    }
    for phase in 0..client.act.phases.len() {
        client.begin(phase)?;
        client.go_on()?;
    }
    let counts = client.finish()?;
    say(&Said::Done(counts))
}

fn say(said: &Said) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, said)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// A request's bytes; they live as long as the process, which makes one for each path.
fn request(path: &str) -> &'static [u8] {
    let text = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\naccept: */*\r\n\r\n"
    );
    text.into_bytes().leak()
}

impl Client {
    fn new(act: Act, address: SocketAddr) -> io::Result<Self> {
        let requests = act.paths.iter().map(|it| request(&it.path));
        Ok(Self {
            address,
            started: clock::now(),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            places: Vec::new(),
            idle: VecDeque::new(),
            empty: Vec::new(),
            deadlines: VecDeque::new(),
            requests: requests.collect(),
            probe: request("/ready/"),
            tallies: act.phases.iter().map(|_| Tally::default()).collect(),
            bins: Bins::default(),
            outstanding: 0,
            phase: 0,
            phase_at: 0.0,
            sent: 0,
            next_probe_at: 0.0,
            prober: None,
            probes_sent: 0,
            mix: sim::rng::Rng::new(1),
            act,
        })
    }

    fn now(&self) -> f64 {
        clock::secs_since(self.started)
    }

    fn begin(&mut self, phase: usize) -> io::Result<()> {
        self.phase = phase;
        self.sent = 0;
        if phase == 0 {
            self.phase_at = self.now();
        } else {
            self.phase_at += self.act.phases[phase - 1].secs;
        }
        say(&Said::Begins(phase))?;
        if let Load::Closed { clients } = self.act.phases[phase].load {
            let now = self.now();
            (0..clients).for_each(|_| self.send(Kind::Work, now));
        }
        Ok(())
    }

    fn ends_at(&self) -> f64 {
        self.phase_at + self.act.phases[self.phase].secs
    }

    /// When the next request is due in the phase, if the load is open.
    fn due_at(&self) -> Option<f64> {
        let rate = self.act.phases[self.phase].rate()?;
        Some(self.phase_at + self.sent as f64 / rate)
    }

    /// Sends and receives until the phase is over.
    fn go_on(&mut self) -> io::Result<()> {
        loop {
            let now = self.now();
            let ends_at = self.ends_at();
            let mut due_at = self.due_at().unwrap_or(ends_at);
            for _ in 0..SENT_AT_ONCE_MAX {
                if due_at > now || due_at >= ends_at {
                    break;
                }
                self.sent += 1;
                self.send(Kind::Work, due_at);
                due_at = self.due_at().unwrap_or(ends_at);
            }
            if self.act.probes && now >= self.next_probe_at {
                self.next_probe_at = now + PROBE_SECS;
                self.send(Kind::Probe, now);
            }
            if now >= ends_at && due_at >= ends_at {
                return Ok(());
            }
            let probe_at = if self.act.probes {
                self.next_probe_at
            } else {
                ends_at
            };
            self.receive(due_at.min(probe_at).min(ends_at))?;
        }
    }

    /// Receives what is still to come, and counts.
    fn finish(mut self) -> io::Result<Counts> {
        self.phase = self.act.phases.len();
        while self.outstanding > 0 {
            let until = self.deadlines.front().map_or(self.now(), |due| due.0);
            self.receive(until + DEADLINE_SECS)?;
        }
        let phases = self.act.phases.iter();
        let secs = phases.map(|phase| phase.secs - phase.settle_secs);
        let tallies = self.tallies.into_iter().zip(secs);
        Ok(Counts {
            phases: tallies.map(|(tally, secs)| tally.counted(secs)).collect(),
            bins: self.bins.finished(),
        })
    }

    fn send(&mut self, kind: Kind, meant_at: f64) {
        let sent_at = self.now();
        let (bytes, path, work) = match kind {
            Kind::Work => {
                let path = self.choose();
                (self.requests[path], path, self.act.paths[path].work)
            }
            Kind::Probe => (self.probe, 0, 0.0),
        };
        let pending = Pending {
            meant_at,
            sent_at,
            phase: self.phase,
            kind,
            counts: meant_at >= self.phase_at + self.act.phases[self.phase].settle_secs,
            path,
            work,
        };
        if kind == Kind::Work {
            self.bins.sent(meant_at);
            if pending.counts {
                self.tallies[self.phase].sent(sent_at - meant_at);
            }
        }
        self.outstanding += 1;
        // Nobody sends what nobody waits for any more. Sent all the same, it would be one
        // connection for each request, opened and reset at once, which is a load of its own.
        if sent_at - meant_at >= DEADLINE_SECS {
            return self.count(pending, Ending::Unsent);
        }
        let place = match kind {
            Kind::Work => self.place(),
            Kind::Probe => self.place_of_probe(),
        };
        let Some(index) = place else {
            return self.count(pending, Ending::Failed);
        };
        let place = &mut self.places[index];
        place.serial = place.serial.wrapping_add(1);
        place.pending = Some(pending);
        self.deadlines.push_back((meant_at, index, place.serial));
        let connection = place.connection.as_mut().expect("a place has a connection");
        if matches!(connection.send(bytes), Progress::Broken) {
            self.end(index, Ending::Failed, false);
        }
    }

    /// Draws one of the paths.
    fn choose(&mut self) -> usize {
        let mut rest = self.mix.unit();
        let mut chosen = 0;
        let shares = self.act.phases.get(self.phase).map(|it| &it.shares);
        for (index, path) in self.act.paths.iter().enumerate() {
            let own = shares.and_then(|shares| shares.get(index));
            rest -= own.copied().unwrap_or(path.share);
            chosen = index;
            if rest < 0.0 {
                break;
            }
        }
        chosen
    }

    /// Finds a connection, or opens one.
    fn place(&mut self) -> Option<usize> {
        let rested = if self.act.connections > 0 {
            self.idle.pop_front()
        } else {
            self.idle.pop_back()
        };
        rested.or_else(|| self.open())
    }

    /// Finds the connection that is kept for probes, every other time, or opens one.
    fn place_of_probe(&mut self) -> Option<usize> {
        self.probes_sent += 1;
        let kept = self.prober.take_if(|_| self.probes_sent.is_multiple_of(2));
        kept.or_else(|| self.open())
    }

    /// Opens a connection.
    fn open(&mut self) -> Option<usize> {
        let index = match self.empty.pop() {
            Some(index) => index,
            None if self.places.len() < CONNECTIONS_MAX => {
                self.places.push(Place::default());
                self.places.len() - 1
            }
            None => return None,
        };
        let opened = Connection::open(self.address).and_then(|connection| {
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(
                &self.epoll,
                &connection,
                EventData::new_u64(index as u64),
                flags,
            )?;
            Ok(connection)
        });
        let Ok(connection) = opened else {
            self.empty.push(index);
            return None;
        };
        self.places[index].connection = Some(connection);
        Some(index)
    }

    /// Looks at answers and deadlines until the moment.
    fn receive(&mut self, until: f64) -> io::Result<()> {
        self.expire();
        let deadline = self.deadlines.front().map(|due| due.0 + DEADLINE_SECS);
        let until = deadline.map_or(until, |deadline| deadline.min(until));
        let wait = Duration::from_secs_f64((until - self.now()).clamp(0.0, 1.0));
        let wait = Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&wait),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut scratch = [0_u8; 4096];
        for event in events {
            self.look(event.data.u64() as usize, event.flags, &mut scratch);
        }
        Ok(())
    }

    fn look(&mut self, index: usize, flags: EventFlags, scratch: &mut [u8]) {
        let place = &mut self.places[index];
        let Some(connection) = place.connection.as_mut() else {
            return;
        };
        if flags.contains(EventFlags::OUT) && matches!(connection.write(), Progress::Broken) {
            return self.end(index, Ending::Failed, false);
        }
        if !flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
        {
            return;
        }
        match connection.read(scratch) {
            Progress::Partial => {}
            Progress::Broken => self.end(index, Ending::Failed, false),
            Progress::Whole { status, keep } => {
                let ending = match status {
                    200 => Ending::Served,
                    503 => Ending::Refused,
                    _ => Ending::Failed,
                };
                self.end(index, ending, keep);
            }
        }
    }

    /// Gives up on those whose time is over.
    fn expire(&mut self) {
        let now = self.now();
        while let Some(&(meant_at, index, serial)) = self.deadlines.front() {
            let place = &self.places[index];
            let runs = place.pending.is_some() && place.serial == serial;
            if runs && now < meant_at + DEADLINE_SECS {
                return;
            }
            self.deadlines.pop_front();
            if runs {
                self.end(index, Ending::TimedOut, false);
            }
        }
    }

    fn end(&mut self, index: usize, ending: Ending, keep: bool) {
        let place = &mut self.places[index];
        let pending = place.pending.take();
        let probed = pending.is_some_and(|pending| pending.kind == Kind::Probe);
        if keep && probed && self.prober.is_none() {
            self.prober = Some(index);
        } else if keep && !probed {
            self.idle.push_back(index);
        } else {
            // Closing the socket takes it out of the epoll. An idle one that the server
            // closed must not be picked again.
            place.connection = None;
            if pending.is_none() {
                self.idle.retain(|idle| *idle != index);
                self.prober.take_if(|prober| *prober == index);
            }
            self.empty.push(index);
        }
        if let Some(pending) = pending {
            self.count(pending, ending);
        }
    }

    fn count(&mut self, pending: Pending, ending: Ending) {
        self.outstanding -= 1;
        let now = self.now();
        let since_meant = now - pending.meant_at;
        if pending.kind == Kind::Probe {
            if pending.counts {
                self.tallies[pending.phase].probed(since_meant);
            }
            return;
        }
        let ending = match ending {
            Ending::Served if since_meant > DEADLINE_SECS => Ending::TimedOut,
            ending => ending,
        };
        self.bins.ended(ending, pending.meant_at, since_meant);
        if pending.counts {
            let tally = &mut self.tallies[pending.phase];
            let since_sent = now - pending.sent_at;
            tally.ended(
                ending,
                since_meant,
                since_sent,
                (pending.path, pending.work),
            );
        }
        let closed = |phase: &super::plan::Phase| matches!(phase.load, Load::Closed { .. });
        // One that failed is not sent again, or a dead server would be asked for ever.
        let goes_on = !matches!(ending, Ending::Failed | Ending::Unsent)
            && self.act.phases.get(self.phase).is_some_and(closed)
            && now < self.ends_at();
        if goes_on {
            self.send(Kind::Work, now);
        }
    }
}
