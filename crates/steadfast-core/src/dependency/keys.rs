//! Parts of a dependency with a breaker each: hosts, shards, tenants.
//!
//! One bad shard must not keep calls from the good ones, so each key has a state of its
//! own. It has the whole's name, rules and listeners; its calls count for the whole too;
//! and the whole ticks it and shows how many of its keys refuse.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use super::DependencyState;
use crate::{dependency::breaker::BreakerState, sync::lock};

/// Most keys of one dependency. Each costs about 4 KiB.
pub const KEYS_MAX: usize = 4096;

/// What makes a state that of one key.
#[derive(Debug)]
pub(super) struct Key {
    text: Arc<str>,
    whole: Arc<DependencyState>,
}

impl Key {
    pub(super) fn whole(&self) -> &DependencyState {
        &self.whole
    }

    pub(super) fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
}

impl DependencyState {
    /// Makes the state of one key. The caller keeps it; the whole knows it for as long as
    /// it lives. Returns `None` beyond [`KEYS_MAX`] living keys.
    #[must_use]
    pub fn key(self: &Arc<Self>, text: &str, now: Instant) -> Option<Arc<Self>> {
        // Whoever changes what holds for the whole does so first and then looks for keys, so
        // a key that is made under this lock has it or is found.
        let mut keys = lock(&self.keys);
        let rules = self.trip().mode(self.mode()).build().ok()?;
        if keys.len() >= KEYS_MAX {
            keys.retain(|key| key.strong_count() > 0);
        }
        if keys.len() >= KEYS_MAX {
            return None;
        }
        // One stripe: it is one of many, and its calls meet on it seldom.
        let mut state = Self::new(self.name.clone(), rules, 1, now);
        state.key = Some(Key {
            text: text.into(),
            whole: Arc::clone(self),
        });
        state.set_call_timeout(self.call_timeout());
        let state = Arc::new(state);
        keys.push(Arc::downgrade(&state));
        Some(state)
    }

    /// Returns which key of its dependency it is.
    #[must_use]
    pub fn key_text(&self) -> Option<&str> {
        self.key.as_ref().map(|key| &*key.text)
    }

    /// Returns the keys that live, in the order in which they came.
    pub fn living_keys(&self) -> Vec<Arc<Self>> {
        let mut keys = lock(&self.keys);
        if keys.is_empty() {
            return Vec::new();
        }
        keys.retain(|key| key.strong_count() > 0);
        keys.iter().filter_map(Weak::upgrade).collect()
    }

    /// Returns how many keys are known, and how many of them refuse calls.
    pub(super) fn keys_out(&self, now: Instant) -> (u32, u32) {
        let keys = self.living_keys();
        let refuses = |key: &&Arc<Self>| {
            let state = key.breaker.get().map(|it| it.state(now));
            matches!(state, Some(BreakerState::Open | BreakerState::Probing))
        };
        let out = keys.iter().filter(refuses).count();
        // At most `KEYS_MAX` of each.
        (keys.len() as u32, out as u32)
    }
}
