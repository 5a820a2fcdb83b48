//! When the processes have a processor: always, in slices that they share with neighbours, or not for a while.

use super::{World, nanos};

impl World<'_> {
    /// Until when the process waits for a processor, if it does.
    pub(super) fn sleeps_until(&mut self) -> Option<u64> {
        let stalled =
            |&&(from, secs): &&(f64, f64)| (nanos(from)..nanos(from + secs)).contains(&self.now);
        if let Some(&(from, secs)) = self.setup.stalls.iter().find(stalled) {
            return Some(nanos(from + secs));
        }
        let (awake, asleep) = self.setup.slices?;
        while self.now >= self.slice.1 {
            let ends = self.slice.1 + nanos(awake * (0.5 + self.slices.unit()));
            self.slice = (ends, ends + nanos(asleep * (0.5 + self.slices.unit())));
        }
        (self.now >= self.slice.0).then_some(self.slice.1)
    }
}
