//! A breaker for each host, shard or tenant of a dependency.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use steadfast_core::{CallKind, ConfigError, DependencyState, Local, plumbing::KEYS_MAX};

use super::{Dependency, Inner, call_error::CallError};
use crate::clock;

/// How many keys a [`Keyed`] knows, and for how long.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct KeyedSettings {
    keys_max: usize,
    idle: Duration,
}

impl Default for KeyedSettings {
    /// 256 keys, forgotten after ten minutes without a call.
    fn default() -> Self {
        Self {
            keys_max: 256,
            idle: Duration::from_secs(600),
        }
    }
}

impl KeyedSettings {
    /// Sets how many keys have a breaker of their own; 1 to 4,096, 256 by default. Each
    /// costs about 4 KiB.
    pub const fn keys_max(mut self, keys: usize) -> Self {
        self.keys_max = keys;
        self
    }

    /// Sets after how long without a call a key is forgotten; 1 s to 1 day, 10 min by
    /// default. It must be above the longest wait of the breaker, or an outage is too.
    pub const fn idle(mut self, length: Duration) -> Self {
        self.idle = length;
        self
    }
}

/// One dependency with a breaker for each key: one bad shard does not keep calls from the
/// good ones. Made by [`Dependency::keyed`]; clones share.
///
/// Keys are bounded. When there is no room, those that were idle for long enough are
/// forgotten; if there are none, a new key shares one breaker with all others that came
/// too late. So a client that invents keys costs bounded memory and hurts only those.
///
/// All keys count as the one dependency in metrics, and readiness shows how many refuse.
///
/// ```
/// use steadfast::{Dependency, KeyedSettings};
///
/// # futures_util::FutureExt::now_or_never(async {
/// let search = Dependency::builder("search").build()?;
/// let shards = search.keyed(KeyedSettings::default())?;
/// let found = shards.call("shard-7", async { Ok::<_, std::io::Error>(7) }).await?;
/// # assert_eq!(found, 7);
/// // The handle of one key does everything that a dependency does.
/// let shard = shards.of("shard-7");
/// shard.require()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct Keyed(Local<Keys>);

struct Keys {
    whole: Arc<DependencyState>,
    settings: KeyedSettings,
    /// Read by every call, replaced when a key comes or goes.
    known: ArcSwap<Known>,
    /// For keys that came too late.
    others: Dependency,
    /// Held while `known` is replaced: what each key had counted, and since when.
    idle: Mutex<HashMap<Box<str>, (u64, Instant)>>,
}

/// The keys that have a breaker of their own.
#[derive(Clone, Default)]
struct Known {
    parts: Arc<HashMap<Box<str>, Dependency>>,
    /// Until when nobody looks for a key to forget: there was none a moment ago.
    full_until: Option<Instant>,
}

impl Dependency {
    /// Gives each host, shard or tenant of this dependency a breaker of its own, by the
    /// same rules.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn keyed(&self, settings: KeyedSettings) -> Result<Keyed, ConfigError> {
        let of = format!("dependency {}", self.name());
        let mut faults = Vec::new();
        let keys = settings.keys_max;
        // One place is for the others.
        if keys == 0 || keys >= KEYS_MAX {
            faults.push(format!(
                "{of}: keys_max {keys}; allowed is 1 to {}",
                KEYS_MAX - 1
            ));
        }
        if settings.idle < Duration::from_secs(1) || settings.idle > IDLE_MAX {
            let idle = settings.idle;
            faults.push(format!("{of}: idle {idle:?}; allowed is 1s to 1 day"));
        }
        ConfigError::check(faults)?;
        let whole = Arc::clone(self.state());
        let Some(others) = whole.key(OTHERS, clock::now()) else {
            let fault = format!("{of}: it has {KEYS_MAX} keys; no more are allowed");
            return Err(ConfigError::check(vec![fault]).expect_err("there is a fault"));
        };
        Ok(Keyed(Local::new(Keys {
            whole,
            settings,
            known: ArcSwap::default(),
            others: handle(others),
            idle: Mutex::default(),
        })))
    }
}

impl Keyed {
    /// Calls one part of the dependency, as [`Dependency::call`].
    ///
    /// # Errors
    /// As [`Dependency::call`].
    pub async fn call<T, E, F>(&self, key: &str, future: F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
        E: fmt::Display,
    {
        self.of(key).call(future).await
    }

    /// Returns the handle of one part. It may be kept: a handle in use is never forgotten
    /// while calls go through it.
    #[must_use]
    pub fn of(&self, key: &str) -> Dependency {
        // No line that all threads write: arc-swap's guard is the thread's own.
        let known = self.0.known.load();
        match known.parts.get(key) {
            Some(part) => part.clone(),
            None if self.0.has_room(key, known.full_until) => self.0.add(key),
            None => self.0.others.clone(),
        }
    }

    /// Returns the keys that are known, with their handles, in no order.
    #[must_use]
    pub fn keys(&self) -> Vec<(Box<str>, Dependency)> {
        let known = self.0.known.load();
        let parts = known.parts.iter();
        parts
            .map(|(key, part)| (key.clone(), part.clone()))
            .collect()
    }
}

impl Keys {
    /// Whether it is worth to look for room for this key. A client that invents keys must
    /// not make every call walk over those that are known.
    fn has_room(&self, key: &str, full_until: Option<Instant>) -> bool {
        key.len() <= KEY_LEN_MAX && full_until.is_none_or(|until| clock::now() >= until)
    }

    #[cold]
    fn add(&self, key: &str) -> Dependency {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = Known::clone(&self.known.load());
        if let Some(part) = known.parts.get(key) {
            return part.clone();
        }
        let now = clock::now();
        let parts = Arc::make_mut(&mut known.parts);
        self.forget_idle(parts, &mut idle, now);
        let has_room = parts.len() < self.settings.keys_max;
        let made = has_room.then(|| self.whole.key(key, now)).flatten();
        let part = match made.map(handle) {
            Some(part) => {
                parts.insert(key.into(), part.clone());
                idle.insert(key.into(), (0, now));
                known.full_until = None;
                part
            }
            None => {
                known.full_until = Some(now + LOOK_EVERY);
                self.others.clone()
            }
        };
        self.known.store(Arc::new(known));
        part
    }

    /// Forgets the keys that have counted nothing for long enough and have no call under
    /// way.
    fn forget_idle(
        &self,
        known: &mut HashMap<Box<str>, Dependency>,
        idle: &mut HashMap<Box<str>, (u64, Instant)>,
        now: Instant,
    ) {
        known.retain(|key, part| {
            let counts = part.state().calls();
            let counted = CallKind::ALL.iter().map(|kind| counts.of(*kind)).sum();
            let (before, since) = idle.entry(key.clone()).or_insert((counted, now));
            if *before != counted {
                (*before, *since) = (counted, now);
            }
            let seen = part.state().breaker().map(|it| it.snapshot(now));
            let is_busy = seen.is_some_and(|seen| seen.in_flight.is_some_and(|calls| calls > 0));
            is_busy || now.saturating_duration_since(*since) < self.settings.idle
        });
        idle.retain(|key, _| known.contains_key(key));
    }
}

fn handle(state: Arc<DependencyState>) -> Dependency {
    Dependency(Local::new(Inner {
        state,
        check: None,
        log: Arc::default(),
        fleet: None,
    }))
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("dependency", self.0.whole.name())
            .field("settings", &self.0.settings)
            .field("keys", &self.0.known.load().parts.len())
            .finish_non_exhaustive()
    }
}

/// The key of those that came too late.
const OTHERS: &str = "(others)";

/// Longest key with a breaker of its own, in bytes: a host name has at most 253.
const KEY_LEN_MAX: usize = 256;

/// How often one call looks for a key to forget while there is no room: the shortest time
/// after which one can be.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const IDLE_MAX: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::{
        Evidence, Health, Trip,
        plumbing::{BreakerMode, BreakerState},
    };

    async fn fails() -> Result<(), std::io::Error> {
        Err(std::io::Error::other("boom"))
    }

    fn search() -> Dependency {
        let trip = Trip::default()
            .consecutive_failures(3)
            .consecutive_spread(Duration::ZERO);
        let search = Dependency::builder("search").trip(trip);
        search.build().expect("valid")
    }

    #[tokio::test(start_paused = true)]
    async fn one_bad_key_is_refused_and_the_others_go_on() {
        let search = search();
        let shards = search.keyed(KeyedSettings::default()).expect("valid");
        for _ in 0..3 {
            assert!(shards.call("bad", fails()).await.is_err());
        }
        let refused = shards.call("bad", fails()).await.expect_err("open");
        let refusal = refused.refusal().expect("refused").clone();
        let Evidence::DependencyDown(down) = refusal.evidence() else {
            panic!("{refusal:?}")
        };
        assert_eq!(down.dependency.as_str(), "search");
        assert_eq!(down.key.as_deref(), Some("bad"));
        let good = shards.call("good", async { Ok::<_, std::io::Error>(1) });
        assert_eq!(good.await.expect("another key"), 1);
        let counts = search.state().calls();
        assert_eq!(
            (counts.of(CallKind::Failure), counts.of(CallKind::Success)),
            (3, 1)
        );
        let view = search.view();
        assert_eq!(view.health(clock::now()), Health::Warning);
        let reason = view.reason(clock::now()).expect("a key is out").to_string();
        assert_eq!(reason, "calls to 1 of 3 keys are refused");
        // The whole's tick moves its keys.
        tokio::time::advance(Duration::from_secs(2)).await;
        search.state().tick(clock::now(), 0);
        let bad = shards
            .of("bad")
            .state()
            .breaker()
            .expect("called")
            .state(clock::now());
        assert_eq!(bad, BreakerState::Probing);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_bounded_and_idle_ones_make_room() {
        let search = search();
        let settings = KeyedSettings::default()
            .keys_max(2)
            .idle(Duration::from_secs(60));
        let shards = search.keyed(settings).expect("valid");
        let (first, second) = (shards.of("a"), shards.of("b"));
        let (third, fourth) = (shards.of("c"), shards.of("d"));
        assert!(
            third.is(&fourth) && !first.is(&second),
            "no room: they share"
        );
        assert!(shards.of("a").is(&first));
        let busy = first.try_acquire().expect("closed");
        tokio::time::advance(Duration::from_secs(61)).await;
        let third = shards.of("c");
        assert!(!third.is(&fourth), "b was idle");
        assert!(shards.of("a").is(&first), "a has a call under way");
        assert_eq!(shards.keys().len(), 2);
        drop(busy);
        let invented = "x".repeat(10_000);
        assert!(
            shards.of(&invented).is(&fourth),
            "a key that long is no key"
        );
    }

    /// Method: the lock is taken while a thread asks, which would wait for it for ever.
    #[tokio::test(start_paused = true)]
    async fn keys_beyond_the_bound_cost_a_look_each_and_no_walk() {
        let settings = KeyedSettings::default().keys_max(2);
        let shards = search().keyed(settings).expect("valid");
        let _ = (shards.of("a"), shards.of("b"));
        let others = shards.of("c");
        let taken = shards.0.idle.lock().expect("nobody panicked");
        let runtime = tokio::runtime::Handle::current();
        let (told, hears) = std::sync::mpsc::channel();
        let (asked, shared) = (shards.clone(), others.clone());
        std::thread::spawn(move || {
            // For the clock, which stands still.
            let _inside = runtime.enter();
            let share = |n: &u32| asked.of(&format!("invented-{n}")).is(&shared);
            told.send((0..1_000).filter(share).count())
        });
        let sharing = hears.recv_timeout(Duration::from_secs(60));
        assert_eq!(sharing, Ok(1_000), "a call waited for the lock");
        drop(taken);
        tokio::time::advance(LOOK_EVERY).await;
        assert!(shards.of("c").is(&others), "it looked again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_set_for_the_whole_holds_for_each_key_that_is_known() {
        let search = search();
        let shards = search.keyed(KeyedSettings::default()).expect("valid");
        let called = shards.of("called");
        drop(called.try_acquire());
        let quiet = shards.of("quiet");
        search.set_mode(BreakerMode::ForcedOpen);
        search.set_call_timeout(Some(Duration::from_secs(3)));
        for part in [called, quiet, shards.of("new")] {
            assert!(part.require().is_err(), "{part:?}");
            let limit = part.state().call_timeout();
            assert_eq!(limit, Some(Duration::from_secs(3)));
        }
        search.set_mode(BreakerMode::Auto);
        assert_eq!(shards.of("quiet").mode(), BreakerMode::Auto);
    }

    #[test]
    fn settings_out_of_range_are_told() {
        let settings = KeyedSettings::default().keys_max(0).idle(Duration::ZERO);
        let faults = search()
            .keyed(settings)
            .expect_err("two faults")
            .into_faults();
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn a_forced_mode_is_set_for_each_key() {
        let shards = search().keyed(KeyedSettings::default()).expect("valid");
        shards.of("a").set_mode(BreakerMode::ForcedOpen);
        assert!(shards.of("a").require().is_err());
        assert!(shards.of("b").require().is_ok());
    }
}
