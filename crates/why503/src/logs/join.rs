//! Brings together what two logs say of one request: an access log has the status, an error log
//! the reason. The combined format has nothing that ties them but second, client and request.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher},
};

use super::cause::Cause;

/// Requests whose reason is open, and complaints that may be it.
#[derive(Debug, Default)]
pub(crate) struct Join {
    open: HashMap<(u64, i64), Open>,
    told: HashMap<(u64, i64), Told>,
    settled: Vec<(Open, i64, Option<Cause>)>,
    /// Complaints of which no request was found, counted by [`resolve`](Self::resolve).
    pub(crate) unmatched: u64,
}

/// A request whose reason is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) at: i64,
    pub(crate) request: u64,
    /// Of client and path alone.
    pub(crate) path: u64,
    pub(crate) client: u64,
    pub(crate) status: u16,
    pub(crate) why: Option<Cause>,
    pub(crate) route: &'a [u8],
    pub(crate) backend: &'a [u8],
}

/// The same, kept.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    count: u64,
    pub(crate) at: i64,
    path: u64,
    client: u64,
    status: u16,
    why: Option<Cause>,
    pub(crate) route: Box<[u8]>,
    pub(crate) backend: Box<[u8]>,
}

#[derive(Clone, Debug)]
struct Told {
    count: u64,
    cause: Cause,
}

/// By what a request and a complaint are held to be the same.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Request,
    Path,
    Client,
}

/// What a request is recognised by.
pub(crate) fn key(client: &[u8], method: &[u8], target: &[u8]) -> u64 {
    // With fixed keys, so that chunks counted by different threads agree; the tables are bounded.
    let mut hasher = DefaultHasher::new();
    for part in [client, method, target] {
        hasher.write(part);
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

impl Join {
    /// Keeps a request until its reason is known; false if there is no room.
    pub(crate) fn ask(&mut self, asked: &Asked<'_>) -> bool {
        // HAProxy's wait for what was said of the backend, so that many share one place.
        let by = match asked.why {
            Some(Cause::HapNoServer) => key(asked.backend, asked.route, b""),
            _ => asked.request,
        };
        if let Some(open) = self.open.get_mut(&(by, asked.at)) {
            open.count += 1;
            return true;
        }
        let room = self.open.len() < OPEN_MAX;
        if room {
            self.open.insert((by, asked.at), Open::new(asked, 1));
        }
        room
    }

    /// Keeps what an error log said; `first` for the first complaint about a request.
    pub(crate) fn tell(&mut self, at: i64, request: u64, cause: Cause, first: bool) {
        let count = u64::from(first);
        if let Some(told) = self.told.get_mut(&(request, at)) {
            told.count += count;
            told.cause = cause;
        } else if self.told.len() < TOLD_MAX {
            let count = count.max(1);
            self.told.insert((request, at), Told { count, cause });
        } else {
            self.unmatched += count;
        }
    }

    /// Takes out what `by` finds a reason for.
    pub(crate) fn settle(&mut self, by: impl Fn(&Asked<'_>) -> Option<Cause>) {
        let mut settled = Vec::new();
        self.open
            .retain(|(request, at), open| match by(&open.asked(*request)) {
                Some(why) => {
                    settled.push((open.clone(), *at, Some(why)));
                    false
                }
                None => true,
            });
        self.settled = settled;
    }

    /// What [`settle`](Self::settle) took out.
    pub(crate) fn settled(&self) -> impl Iterator<Item = (Asked<'_>, Option<Cause>, u64)> {
        let each = self.settled.iter();
        each.map(|(open, _, why)| (open.asked(0), *why, open.count))
    }

    /// Takes over what the next chunk keeps; gives back what found no room.
    pub(crate) fn merge<'a>(&mut self, next: &'a Self) -> Vec<(Asked<'a>, u64)> {
        let mut left = Vec::new();
        for (by, open) in &next.open {
            if let Some(known) = self.open.get_mut(by) {
                known.count += open.count;
            } else if self.open.len() < OPEN_MAX {
                self.open.insert(*by, open.clone());
            } else {
                left.push((open.asked(by.0), open.count));
            }
        }
        for (by, told) in &next.told {
            if let Some(known) = self.told.get_mut(by) {
                known.count += told.count;
                known.cause = told.cause;
            } else if self.told.len() < TOLD_MAX {
                self.told.insert(*by, told.clone());
            } else {
                self.unmatched += told.count;
            }
        }
        self.unmatched += next.unmatched;
        left
    }

    /// Gives every open request the reason that an error log has for it, if one has.
    pub(crate) fn resolve(&mut self) -> Vec<(Open, Option<Cause>, u64)> {
        let mut opens: Vec<((u64, i64), Open)> =
            std::mem::take(&mut self.open).into_iter().collect();
        opens.sort_by_key(|((request, at), _)| (*at, *request));
        let mut found = Vec::with_capacity(opens.len());
        // What fits best goes first, for all of them, so that nobody takes another's.
        let mut of_client: HashMap<(u64, i64), u64> = HashMap::new();
        for (_, open) in opens.iter().filter(|it| it.1.status == 503) {
            *of_client.entry((open.client, open.at)).or_default() += open.count;
        }
        let near = [0, -1, 1].map(|after| (By::Request, after));
        let later = (0..=LATE_MAX).map(|after| (By::Path, after));
        let last = [0, 1].map(|after| (By::Client, after));
        for (by, after) in near.into_iter().chain(later).chain(last) {
            for ((request, at), open) in &mut opens {
                let key = match by {
                    By::Request => *request,
                    By::Path => open.path,
                    By::Client => open.client,
                };
                let Some(told) = self.told.get_mut(&(key, *at + after)) else {
                    continue;
                };
                // Where a client had more failures in that second than were complained of,
                // nobody can tell which one it was.
                let of_client = of_client.get(&(open.client, *at)).copied().unwrap_or(0);
                let sure = by != By::Client
                    || (told.cause == Cause::ApacheWorker
                        && open.status == 503
                        && of_client <= told.count);
                let fits = open.why.is_none_or(|why| why.admits(told.cause));
                let count = told.count.min(open.count);
                if sure && fits && count > 0 {
                    told.count -= count;
                    open.count -= count;
                    found.push((open.clone(), Some(told.cause), count));
                }
            }
        }
        for (_, open) in opens {
            if open.count > 0 {
                let (why, count) = (open.why, open.count);
                found.push((open, why, count));
            }
        }
        self.unmatched += self.told.values().map(|it| it.count).sum::<u64>();
        found
    }
}

impl Open {
    fn new(asked: &Asked<'_>, count: u64) -> Self {
        Self {
            count,
            at: asked.at,
            path: asked.path,
            client: asked.client,
            status: asked.status,
            why: asked.why,
            route: asked.route.into(),
            backend: asked.backend.into(),
        }
    }

    fn asked(&self, request: u64) -> Asked<'_> {
        Asked {
            at: self.at,
            request,
            path: self.path,
            client: self.client,
            status: self.status,
            why: self.why,
            route: &self.route,
            backend: &self.backend,
        }
    }
}

/// Some 10 MB; a log with more open requests than this has one cause for most of them.
const OPEN_MAX: usize = 1 << 16;
/// The same of complaints, which are smaller.
const TOLD_MAX: usize = 1 << 18;
/// Apache writes when a request came, and complains when it gave up.
const LATE_MAX: i64 = 60;
