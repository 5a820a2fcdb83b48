//! Atomics. Fair shares: who is refused first where one client asks for more than all others.
//!
//! A limit without it is first come, first served: a client that sends twenty times what the
//! service can do takes nearly every place that becomes free, and everybody else is refused as
//! often as it is. So where the application says whose a request is (a [`Tenant`]), and while
//! the limit is being met, whoever asks for more than a fair share is refused while others still
//! find a place: see [`share`] for what is fair, and for how many places are kept from them.
//!
//! ```text
//! a request ─▶ its stripe's table of a tenth of a second ─┐ ten times a second, one of them
//! its end   ─▶ how long it had its place                  ├─▶ the table, which fades ─▶ the ruling
//!                                                          │            who is greedy, how much is kept
//! a request while the limit is met ◀── words ──────────────┘
//! ```
//!
//! Nobody loses anything by it who need not. Nothing is counted but one request in
//! [`TENANT_ONE_IN`] before the limit was met, and nobody is refused by it then, or once what is
//! asked for would fit again. A tenant that is alone may have everything. Critical requests are
//! never refused by it: who goes first is decided before whose turn it is.
//!
//! Laws kept: bounded ([`TENANTS_MAX`], [`TENANTS_PER_STRIPE`], [`GREEDY_MAX`]); no allocation
//! for a request; no shared line is written but by one request in a tenth of a second; the
//! table of a stripe is locked by its own threads and by that one, and whoever finds it locked
//! goes on uncounted.
//!
//! Hazards: keys that strangers may choose make as many tenants as they like, each of them
//! modest; name them by what your own proxy or a check of credentials has proved. And a key is
//! kept as its hash and the head of its name: see [`table`].

#[cfg(all(test, loom))]
mod loom_tests;
mod share;
mod snapshot;
mod table;
mod tenant;
#[cfg(all(test, not(loom)))]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use share::{Claim, Room, Ruling};
pub use snapshot::{TenantChange, TenantShare, TenantSnapshot, TenantsSnapshot};
use table::{Entry, Fade, Label, Table, Work};
pub use tenant::Tenant;
pub(crate) use tenant::TenantMark;

use crate::{
    shed::{inflight::tokens::LIMIT_MAX, reservation::CONTENDED_FOR},
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
        lock,
        origin::{Origin, nanos},
        stripe::{Counter, Padded, STRIPES},
        try_lock,
    },
};

/// Tenants that are known by name. Whoever asks for a sixty-fourth of everything is one of
/// them, and a share that is smaller does no harm.
pub const TENANTS_MAX: usize = 64;

/// The same on one stripe in a tenth of a second.
pub const TENANTS_PER_STRIPE: usize = if cfg!(loom) { 1 } else { 32 };

/// Tenants that can be held to their share at the same time: each request looks through them.
pub const GREEDY_MAX: usize = if cfg!(loom) { 1 } else { 16 };

/// One request in so many is asked whose it is before the limit was met.
pub const TENANT_ONE_IN: u32 = 16;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// What was so long ago counts half: long enough that a hundred requests a second make a share to
/// a sixth.
const HALF_LIFE_SECS: f64 = 1.0;

/// The same for what acquits.
const FRESH_HALF_LIFE_SECS: f64 = 0.2;

/// The limit counts as no less full than this, so that what ends is no more than twenty times
/// what is seen to.
const FULL_MIN: f64 = 0.05;

/// The algorithm of the limit hears of one in so many of the places that stand empty. With all of
/// them as many run as it asked for, and the modest are slowed by their queue (p99 1.22 of the
/// service's own, 1.15 with a half); with none it sees fewer than it asked for, and in one run of
/// eight lost its way when the capacity had doubled.
const BESIDE_PART: u32 = 3;

/// After so long without anybody who asks for more than a share, it is over.
const OVER_AFTER: Duration = Duration::from_secs(10);

/// Changes kept until somebody collects them. They are ten seconds apart.
const CHANGES_KEPT: usize = 16;

/// Tenants that are shown.
const SHOWN_MAX: usize = 8;

/// The two bits of a word that say what is thought of the tenant whose id the rest is.
const GREEDY: u64 = 1;
const OVER: u64 = 2;

/// What a look needs of the gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) limit: u32,
    pub(crate) in_flight: u32,
    /// How long a place is held, as far as it is known.
    pub(crate) hold: Option<Duration>,
}

/// How many places are kept from a greedy tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptFrom(pub(crate) u32);

/// See the module.
#[derive(Debug)]
pub(crate) struct TenantShares {
    origin: Origin,
    /// Until when the limit counts as met, in nanoseconds from the origin.
    contended_until: AtomicU64,
    /// When the next look is due, the same.
    due: AtomicU64,
    /// What is kept from the greedy, and from those over the level: two halves.
    kept: AtomicU64,
    /// See [`TenantShares::beside`].
    beside: AtomicU32,
    /// Who is greedy: ids with [`GREEDY`], and [`OVER`] where that is so; the first zero ends
    /// them. Each word is whole by itself, so a reader beside a writer finds a tenant as it was
    /// thought of before or after, or not at all.
    greedy: [AtomicU64; GREEDY_MAX],
    stripes: Box<[Padded<Mutex<Table>>]>,
    refused: Counter,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: Table,
    looked_at: Instant,
    /// Seconds that the table is of, faded like it.
    secs: f64,
    /// The same for what is fresh.
    fresh_secs: f64,
    /// How full the limit was, summed over those seconds.
    full: f64,
    /// How long everybody holds a place, in seconds, and how many times longer now than in the
    /// time that the table is of: the first seconds of a flood, before there was a limit, say
    /// nothing of what a place is worth behind one.
    hold_secs: f64,
    slower: f64,
    limit: u32,
    ruling: Ruling,
    claims: [Claim; TENANTS_MAX],
    /// When somebody was last held to a share, since it began.
    held_at: Option<Instant>,
    changes: VecDeque<TenantChange>,
}

impl TenantShares {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            origin: Origin::new(now),
            contended_until: AtomicU64::new(0),
            due: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            beside: AtomicU32::new(0),
            greedy: std::array::from_fn(|_| AtomicU64::new(0)),
            stripes: (0..STRIPES)
                .map(|_| Padded(Mutex::new(Table::new(TENANTS_PER_STRIPE))))
                .collect(),
            refused: Counter::new(),
            inner: Mutex::new(Inner {
                table: Table::new(TENANTS_MAX),
                looked_at: now,
                secs: 0.0,
                fresh_secs: 0.0,
                full: 0.0,
                hold_secs: 0.0,
                slower: 1.0,
                limit: 1,
                ruling: Ruling::default(),
                claims: [Claim::default(); TENANTS_MAX],
                held_at: None,
                changes: VecDeque::new(),
            }),
        }
    }

    /// Whether the limit was met a moment ago.
    #[inline]
    pub(crate) fn is_contended(&self, now: Instant) -> bool {
        // Relaxed: who comes a moment too early or too late is a sample more or less.
        self.origin.nanos(now) < self.contended_until.load(Ordering::Relaxed)
    }

    /// Says that the limit was met. Written ten times a second at most, because all read it.
    pub(crate) fn met(&self, now: Instant) {
        let until = self.origin.nanos(now + CONTENDED_FOR);
        let known = self.contended_until.load(Ordering::Relaxed);
        if known.saturating_add(nanos(LOOK)) < until {
            self.contended_until.store(until, Ordering::Relaxed);
        }
    }

    /// Counts a request that asks for a place.
    pub(crate) fn asks(&self, stripe: usize, tenant: &Tenant<'_>) {
        if let Some(mut table) = try_lock(&self.stripes[stripe].0) {
            table.asks(tenant.id(), tenant.name, f64::from(tenant.weight));
        }
    }

    /// Counts the end of one that had its place for so long; nobody cut it short if it is
    /// `whole`.
    #[cold]
    pub(crate) fn ended(&self, stripe: usize, mark: TenantMark, held: Duration, whole: bool) {
        if let Some(mut table) = try_lock(&self.stripes[stripe].0) {
            table.ended(mark.id(), held.as_secs_f64(), whole, mark.weight());
        }
    }

    /// Counts a request that was refused by it.
    pub(crate) fn refused(&self, stripe: usize) {
        self.refused.add_at(stripe, 1);
    }

    /// How many places are kept from a tenant; `None` if it asks for no more than its share.
    pub(crate) fn kept_from(&self, tenant: &Tenant<'_>) -> Option<KeptFrom> {
        let id = tenant.id().0;
        let word = (self.greedy.iter())
            .map(|word| word.load(Ordering::Relaxed))
            .take_while(|word| *word != 0)
            .find(|word| *word & !3 == id)?;
        let kept = self.kept.load(Ordering::Relaxed);
        let places = if word & OVER == 0 { kept } else { kept >> 32 };
        Some(KeptFrom(places as u32)).filter(|KeptFrom(places)| *places > 0)
    }

    /// How many places the algorithm of the limit is to add for those that stand empty.
    pub(crate) fn beside(&self) -> u32 {
        self.beside.load(Ordering::Relaxed)
    }

    /// Looks, if it is time, and says whether what is kept has changed.
    #[inline]
    pub(crate) fn look_if_due(&self, look: impl FnOnce() -> Look, now: Instant) -> bool {
        // Relaxed: it only chooses who looks.
        let due = self.due.load(Ordering::Relaxed);
        self.origin.nanos(now) >= due && self.look_now(look, now)
    }

    #[cold]
    fn look_now(&self, look: impl FnOnce() -> Look, now: Instant) -> bool {
        let Some(mut inner) = try_lock(&self.inner) else {
            return false;
        };
        self.due
            .store(self.origin.nanos(now + LOOK), Ordering::Relaxed);
        let contended = self.is_contended(now);
        let inner = &mut *inner;
        let secs = inner.fade(now);
        for stripe in &self.stripes {
            // What is left is counted at the next look.
            if let Some(mut table) = try_lock(&stripe.0) {
                inner.table.take_from(&mut table);
            }
        }
        let words = inner.rule(look(), secs, contended, now);
        for (place, word) in self.greedy.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        let Ruling {
            kept, kept_over, ..
        } = inner.ruling;
        let both = u64::from(kept_over) << 32 | u64::from(kept);
        self.kept.store(both, Ordering::Relaxed);
        let beside = (kept - inner.ruling.used) / BESIDE_PART;
        self.beside.swap(beside, Ordering::Relaxed) != beside
    }

    /// What is known of a tenant that is refused.
    pub(crate) fn explain(&self, tenant: &Tenant<'_>, KeptFrom(kept): KeptFrom) -> TenantShare {
        let inner = lock(&self.inner);
        let entry = inner.table.find(tenant.id());
        let claim = entry.map(|entry| inner.claim(entry)).unwrap_or_default();
        TenantShare {
            tenant: tenant.shown().into(),
            kept,
            ..inner.share(&claim)
        }
    }

    pub(crate) fn take_changes(&self) -> Vec<TenantChange> {
        lock(&self.inner).changes.drain(..).collect()
    }

    pub(crate) fn snapshot(&self, now: Instant) -> TenantsSnapshot {
        let inner = lock(&self.inner);
        let mut most: Vec<_> = (inner.table.entries().iter())
            .map(|entry| (inner.claim(entry), entry.label))
            .collect();
        most.sort_unstable_by(|(a, _), (b, _)| b.asks.total_cmp(&a.asks));
        let shown = most
            .iter()
            .take(SHOWN_MAX)
            .map(|(claim, label)| TenantSnapshot {
                name: label.to_string(),
                asks: claim.asks,
                has: claim.has,
                greedy: inner.ruling.is_greedy(claim),
            });
        TenantsSnapshot {
            contended: self.is_contended(now),
            fair: inner.ruling.fair,
            kept: inner.ruling.kept,
            known: inner.known(),
            refused: self.refused.sum(),
            most: shown.collect(),
        }
    }
}

impl Inner {
    /// Makes what was less, and returns the seconds since the last time.
    fn fade(&mut self, now: Instant) -> f64 {
        let secs = now.saturating_duration_since(self.looked_at).as_secs_f64();
        self.looked_at = now.max(self.looked_at);
        let to = (-secs / HALF_LIFE_SECS).exp2();
        let fresh_to = (-secs / FRESH_HALF_LIFE_SECS).exp2();
        self.table.fade(Fade { to, fresh_to });
        self.fresh_secs = self.fresh_secs * fresh_to + secs;
        (self.secs, self.full) = (self.secs * to + secs, self.full * to);
        secs
    }

    /// Rules, and returns the words of those who are greedy.
    fn rule(&mut self, look: Look, secs: f64, contended: bool, now: Instant) -> [u64; GREEDY_MAX] {
        let Look {
            limit,
            in_flight,
            hold,
        } = look;
        let total = *self.table.total();
        self.hold_secs = if total.ended >= 1.0 {
            total.held_secs / total.ended
        } else {
            hold.unwrap_or_default().as_secs_f64()
        };
        self.slower = match (total.fresh_whole.mean(), total.whole.mean()) {
            (Some(now), Some(before)) => now / before,
            _ => 1.0,
        };
        let share = f64::from(in_flight) / f64::from(limit);
        self.full += share.min(1.0) * secs;
        self.limit = limit;
        self.ruling = Ruling::default();
        let mut words = [0; GREEDY_MAX];
        if contended && limit < LIMIT_MAX && self.hold_secs > 0.0 {
            self.judge(&mut words);
        }
        self.note(&words, now);
        words
    }

    fn judge(&mut self, words: &mut [u64; GREEDY_MAX]) {
        let total = *self.table.total();
        let mut own = 0.0;
        let len = self.table.entries().len();
        for at in 0..len {
            let entry = &self.table.entries()[at];
            own += entry.work.own();
            self.claims[at] = self.claim(entry);
        }
        let others = Work {
            asked: (total.asked - own).max(0.0),
            fresh: total.fresh,
            ..Work::default()
        };
        let room = Room {
            limit: self.limit,
            ends: total.ended / self.fullness(),
            others: self.claim_of(&others, self.hold_secs),
            tenants_max: TENANTS_MAX,
        };
        self.ruling = Ruling::of(&mut self.claims[..len], room);
        let greedy = self.table.entries().iter().filter_map(|entry| {
            let claim = self.claim(entry);
            let over = if self.ruling.is_over(&claim) { OVER } else { 0 };
            let word = entry.id().0 | GREEDY | over;
            self.ruling.is_greedy(&claim).then_some(word)
        });
        for (place, word) in words.iter_mut().zip(greedy) {
            *place = word;
        }
    }

    fn claim(&self, entry: &Entry) -> Claim {
        let hold_secs = entry.work.hold_secs(self.hold_secs);
        self.claim_of(&entry.work, hold_secs)
    }

    fn claim_of(&self, work: &Work, hold_secs: f64) -> Claim {
        let fresh_secs = self.fresh_secs.max(LOOK.as_secs_f64());
        let held = self.table.total().held_secs.max(1e-9);
        // Its part of all places that are taken.
        let has = work.held_secs / held * self.fullness() * f64::from(self.limit);
        Claim::of(
            work,
            hold_secs * self.slower,
            has,
            [self.span(), fresh_secs],
        )
    }

    /// How much of the limit was taken lately.
    fn fullness(&self) -> f64 {
        (self.full / self.span()).clamp(FULL_MIN, 1.0)
    }

    /// The seconds that counts are divided by: never so few that one request is a flood.
    fn span(&self) -> f64 {
        self.secs.max(LOOK.as_secs_f64())
    }

    /// How many tenants came in the last seconds.
    fn known(&self) -> u32 {
        let came = |entry: &&Entry| entry.work.own() >= 0.25;
        self.table.entries().iter().filter(came).count() as u32
    }

    fn share(&self, claim: &Claim) -> TenantShare {
        TenantShare {
            tenant: "".into(),
            asks: claim.asks,
            has: claim.has,
            fair: self.ruling.fair.unwrap_or_default(),
            kept: self.ruling.kept,
            tenants: self.known(),
        }
    }

    /// Keeps that it began, and that it is over.
    fn note(&mut self, words: &[u64; GREEDY_MAX], now: Instant) {
        let held = words[0] != 0 && self.ruling.kept_over > 0;
        let share = match (self.held_at, held) {
            (None, true) => {
                let most = |a: &(Claim, Label), b: &(Claim, Label)| a.0.asks.total_cmp(&b.0.asks);
                let all = self.table.entries().iter();
                let first = all
                    .map(|entry| (self.claim(entry), entry.label))
                    .max_by(most);
                first.map(|(claim, label)| TenantShare {
                    tenant: label.to_string().into(),
                    ..self.share(&claim)
                })
            }
            (Some(last), false) if now.saturating_duration_since(last) >= OVER_AFTER => None,
            (_, true) => {
                self.held_at = Some(now);
                return;
            }
            _ => return,
        };
        self.held_at = held.then_some(now);
        if self.changes.len() == CHANGES_KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(TenantChange {
            at: now,
            share,
            limit: self.limit,
        });
    }
}
