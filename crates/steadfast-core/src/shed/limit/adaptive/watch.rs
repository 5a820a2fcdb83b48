//! Watching without a limit: does latency rise *because* more requests are in flight?
//!
//! Requests are sampled into blocks of [`BLOCK`] in the order of their admission.
//! Between neighbouring blocks, `x` is the difference of the logarithm of how many were in flight at admission and `y` that of the latency.
//! Behind a full pool a request admitted with twice as many in flight takes twice as long: `y = x`.
//! A dependency that becomes slower moves `y` first, while `x` is still 0, and then moves `x` while `y` is 0: the sum of `x * y` stays small against its error, so nothing is concluded.
//! Differences, not levels: that is what tells cause from coincidence here, since in flight follows latency in a healthy service too.
//!
//! Two more questions are asked where the short ups and downs say no, because those of a pool that is just full say nothing (`growth`, and `slope::apart`).

use std::time::{Duration, Instant};

use super::cycle::Group;
use super::growth::outgrows;
use super::slope::{Difference, Noise, Saturation, apart, saturation, slope};
use super::sums::Sums;
use super::{BURST_PLUS, BURST_SHARE, burst_secs};

#[derive(Clone, Copy, Debug)]
struct Block {
    serial: u32,
    opened_at: Instant,
    admitted: u32,
    ended: u32,
    in_flight: f64,
    peak: f64,
    least: f64,
    /// The first [`BLOCK_ENDS`] that ended.
    sums: Sums,
    /// With those that ended later, but for what others made of them who came meanwhile.
    all: Sums,
}

/// What the blocks say.
enum Answer {
    /// Nothing for certain.
    Unknown,
    /// Latency rises with what is in flight, and for another cause than a queue.
    NoQueue,
    /// It is a queue, of which so many run.
    Queue(Saturation),
}

/// Blocks of sampled requests and the question asked of them.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    blocks: [Option<Block>; BLOCKS],
    /// The block that is being filled.
    serial: u32,
    one_in: u16,
    in_flight: f64,
    /// The block with fewest in flight that clients waited for.
    calm: Option<Block>,
    /// The block with most in flight that was answered about as fast as that one.
    roomy: Option<Block>,
    /// What was seen before this block had another cause than a queue.
    explained: Option<u32>,
    /// How many whole blocks on end have said that it is a queue.
    queue_blocks: u32,
    /// What the present queue showed first, while it may still be a burst.
    standing: Option<Saturation>,
    /// How many whole blocks on end nearly all clients gave up in.
    in_vain: u32,
    /// Whether few of the requests are most of the work.
    uneven: bool,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            blocks: [None; BLOCKS],
            serial: 1,
            one_in: 1,
            in_flight: 0.0,
            calm: None,
            roomy: None,
            explained: None,
            queue_blocks: 0,
            standing: None,
            in_vain: 0,
            uneven: false,
        }
    }

    /// Forgets everything but what is calm; late ends of earlier samples are no longer recognised.
    pub(super) fn clear(&mut self) {
        self.serial = later(self.serial, BLOCKS as u32 + 1);
        self.blocks = [None; BLOCKS];
        self.one_in = 1;
        self.explained = None;
        self.queue_blocks = 0;
        self.standing = None;
        self.in_vain = 0;
        self.uneven = false;
    }

    pub(super) fn one_in(&self) -> u16 {
        self.one_in
    }

    /// Takes a sample in; returns the serial of its block.
    pub(super) fn admitted(&mut self, now: Instant, in_flight: u32) -> u32 {
        self.in_flight = f64::from(in_flight);
        // What was seen of a queue is over when the queue is.
        let gone = self.gone();
        self.standing.take_if(|it| self.in_flight <= gone * it.knee);
        let serial = self.serial;
        let slot = &mut self.blocks[serial as usize % BLOCKS];
        let block = match slot {
            Some(block) if block.serial == serial => block,
            _ => slot.insert(Block {
                serial,
                opened_at: now,
                admitted: 0,
                ended: 0,
                in_flight: 0.0,
                peak: 0.0,
                least: f64::INFINITY,
                sums: Sums::default(),
                all: Sums::default(),
            }),
        };
        block.admitted += 1;
        block.in_flight += self.in_flight;
        block.peak = block.peak.max(self.in_flight);
        block.least = block.least.min(self.in_flight);
        if block.admitted == BLOCK {
            let took = now.saturating_duration_since(block.opened_at).as_secs_f64();
            self.serial = later(serial, 1);
            self.pace(took);
        }
        serial
    }

    /// Takes the end of a sample in; concludes when its block is whole.
    pub(super) fn ended(
        &mut self,
        now: Instant,
        serial: u32,
        sample: Option<(f64, u32, bool)>,
    ) -> Option<Saturation> {
        let block = self.blocks[serial as usize % BLOCKS].as_mut()?;
        if block.serial != serial {
            return None;
        }
        block.ended += 1;
        let late = block.ended > BLOCK_ENDS;
        if let Some((latency, in_flight, abandoned)) = sample {
            if !late {
                block.sums.add(latency, in_flight, abandoned);
            }
            if !late || self.in_flight <= LATE_RISE * block.mean_in_flight() {
                block.all.add(latency, in_flight, abandoned);
            }
        }
        if block.ended != BLOCK_ENDS {
            return None;
        }
        let block = *block;
        self.conclude(now).or_else(|| self.given_up(&block))
    }

    /// The samples that were admitted last, with about as many in flight as now: the side with which a new limit is compared, and the serial of its first block.
    pub(super) fn newest(&self, now: Instant) -> (u32, Group) {
        let mut group = Group::default();
        let mut from = self.serial;
        for block in self.remembered().rev() {
            let in_flight = block.mean_in_flight();
            let other = in_flight < NEWEST_SHARE * self.in_flight;
            if group.len() >= if other { NEWEST_MIN } else { NEWEST_MAX } {
                break;
            }
            let age = now.saturating_duration_since(block.opened_at).as_secs_f64();
            let open = block.admitted.saturating_sub(block.ended);
            group.sums.merge(&block.sums);
            group.admitted_before(open, -age, in_flight);
            from = block.serial;
        }
        (from, group)
    }

    /// When most clients give up, where they did not while fewer were in flight, something must be tried:
    /// latency then is the patience of the clients, and says nothing any more.
    fn given_up(&mut self, block: &Block) -> Option<Saturation> {
        let ratio = block.sums.abandoned_ratio();
        let in_vain = ratio >= IN_VAIN_RATIO;
        self.in_vain = if in_vain { self.in_vain + 1 } else { 0 };
        // Of a block that was half answered it is less sure, so it takes more to see a difference.
        let sure = self.in_vain >= IN_VAIN_MIN;
        if ratio < GIVEN_UP_RATIO {
            let age = |b: &Block| block.opened_at.saturating_duration_since(b.opened_at);
            let rank = |b: &Block| (b.sums.abandoned_ratio() >= CALM_RATIO, b.in_flight);
            let better = |b: &Block| rank(block) < rank(b) || age(b) > CALM_AGE_MAX;
            if self.calm.as_ref().is_none_or(better) {
                self.calm = Some(*block);
            }
            self.roomier(block);
        }
        let calm = self.calm.as_ref().filter(|calm| {
            ratio > GIVEN_UP_RATIO && (sure || calm.sums.abandoned_ratio() < CALM_RATIO)
        })?;
        let waited_for = calm.sums.abandoned_ratio() < CALM_RATIO;
        let slower = block.sums.latency() / calm.sums.latency().max(1e-9);
        if waited_for && slower < 1.0 {
            // They left sooner than answers come, so it was not for what is in flight.
            return None;
        }
        let far = block.sums.in_flight() / CALM_DISTANCE;
        let burst = BURST_SHARE * calm.sums.in_flight().max(far) + BURST_PLUS;
        // As many as found room, unless that is no fewer than there are.
        let fewer = |it: &&Block| waited_for && it.sums.in_flight() < self.in_flight;
        let roomy = self.roomy.as_ref().filter(fewer);
        let known = roomy.unwrap_or(calm).sums.in_flight();
        let knee = known.max(far);
        (self.in_flight >= burst).then_some(Saturation {
            high: block.sums,
            slower,
            knee,
            scatter: 0.0,
            guessed: knee > known,
        })
    }

    /// Remembers a block with more in flight that was waited for and answered about as fast as the
    /// calm one: so many found room. The calm one alone is the quietest moment of a minute.
    fn roomier(&mut self, block: &Block) {
        let Some(calm) = &self.calm else { return };
        let has_room = |it: &Block| {
            it.sums.abandoned_ratio() < CALM_RATIO
                && it.sums.latency() <= ROOMY * calm.sums.latency()
                && block.opened_at.saturating_duration_since(it.opened_at) <= CALM_AGE_MAX
        };
        self.roomy.take_if(|it| !has_room(it));
        let least = self.roomy.map_or(0.0, |it| it.sums.in_flight());
        if has_room(block) && block.sums.in_flight() > least {
            self.roomy = Some(*block);
        }
    }

    /// Samples so that a block spans a quarter of a latency and no less than 2 ms.
    fn pace(&mut self, took: f64) {
        let by_count = (self.in_flight / SAMPLES_IN_FLIGHT).max(1.0);
        let by_time = f64::from(self.one_in) * BLOCK_SECS_MIN / took.max(1e-6);
        let wanted = by_count.max(by_time).min(f64::from(ONE_IN_MAX));
        let wanted = (wanted as u16).max(1);
        // One doubling a block: an estimate from one block is rough.
        self.one_in = wanted.clamp(self.one_in / 2, self.one_in * 2).max(1);
    }

    /// The blocks that are remembered, oldest first.
    fn remembered(&self) -> impl DoubleEndedIterator<Item = &Block> {
        (0..BLOCKS as u32).rev().filter_map(|behind| {
            let serial = earlier(self.serial, behind);
            let block = self.blocks[serial as usize % BLOCKS].as_ref();
            block.filter(|block| block.serial == serial)
        })
    }

    /// Those of them that are whole, up to the first that may still be running: what comes later has ended first, so it did not wait behind that one.
    fn whole(&self, now: Instant) -> impl Iterator<Item = &Block> {
        let mut newest = None;
        let whole = self.remembered().map_while(move |block| {
            if block.whole() {
                newest = Some(block);
                return Some(Some(block));
            }
            (!block.recent(now, newest)).then_some(None)
        });
        whole.flatten()
    }

    /// How many serials ago this one was.
    fn behind(&self, serial: u32) -> u32 {
        earlier(self.serial, serial)
    }

    /// Remembers what a queue showed, and concludes when it is no burst any more: memory may be too short by then to show it again.
    fn conclude(&mut self, now: Instant) -> Option<Saturation> {
        match self.ask(now) {
            Answer::Unknown => {}
            Answer::NoQueue => self.standing = None,
            Answer::Queue(found) => {
                // What was seen first was least disturbed by what grew since.
                let first = self.standing.filter(|it| it.knee <= FIRST * found.knee);
                let knee = first.map_or(found.knee, |it| it.knee);
                self.standing = Some(Saturation { knee, ..found });
            }
        }
        let standing = self.standing.filter(|it| self.outlasts_a_burst(now, it))?;
        let newest = self.remembered().rfind(|block| block.whole())?;
        self.lasts(now, newest).then_some(standing)
    }

    /// Asks the question of single blocks, of pairs and of fours: many in flight change fast, few change slowly.
    fn ask(&mut self, now: Instant) -> Answer {
        // Forgotten with the last of its blocks, before serials come round to it again.
        self.explained = self
            .explained
            .filter(|until| self.behind(*until) < BLOCKS as u32);
        if self.whole(now).next().is_none() {
            return Answer::Unknown;
        }
        let queue_blocks = std::mem::take(&mut self.queue_blocks);
        let rose = |block: &Block| self.in_flight >= LEAST_RISE * block.sums.in_flight();
        if self.in_flight < BURST_SHARE + BURST_PLUS || !self.whole(now).any(rose) {
            // The usual case, for a few loads and comparisons, before anything is copied.
            return Answer::Unknown;
        }
        let since = self
            .explained
            .map_or(BLOCKS as u32, |until| self.behind(until));
        let mut whole = [Sums::default(); BLOCKS];
        let mut all = [Sums::default(); BLOCKS];
        let mut opened = [now; BLOCKS];
        let (mut n, mut explained) = (0, 0);
        for block in self.whole(now) {
            (whole[n], all[n], opened[n]) = (block.sums, block.all, block.opened_at);
            n += 1;
            if self.behind(block.serial) > since {
                explained = n;
            }
        }
        let whole = &whole[..n];
        let long = |(sums, all): &(&Sums, &Sums)| all.latency() >= LONG * sums.latency();
        let longer = whole.iter().zip(&all[..n]).filter(long).count();
        // Where those that end late are most of the work, what a queue makes is seen with them alone.
        self.uneven = LONG_BLOCKS * longer >= n;
        let all = if self.uneven { &all[..n] } else { whole };
        let noise = Noise::of(all);
        // Where latency rose by itself a new story begins.
        let by_queue = |pair: &[Sums]| Difference::new(&pair[0], &pair[1]).by_queue(noise);
        let story = all.windows(2).rposition(|pair| !by_queue(pair));
        let begins = story.map_or(0, |last| last + 1);
        let (whole, all) = (&whole[begins..], &all[begins..]);
        let outgrown = outgrows(whole, &opened[begins..n]);
        // What grows like that is a story of its own, whatever explained the one before.
        let explained = if outgrown { 0 } else { explained };
        let known = explained.saturating_sub(begins).min(whole.len());
        let fresh = &whole[known..];
        let sure = |scale| slope(fresh, scale, 0.0, false).is_some_and(|slope| slope.sure());
        if ![1, 2, 4].into_iter().any(sure) {
            return Answer::Unknown;
        }
        // How long requests take is the question here, and of those the longest are a part.
        let Some(found) = saturation(&all[known..], self.uneven) else {
            return Answer::Unknown;
        };
        let least = saturation(all, self.uneven).map_or(found.knee, |s| s.knee.min(found.knee));
        // Whatever moves slowly moves together. Only a queue also follows the short ups and downs.
        let close = slope(whole, 1, NEWEST_SHARE * least, true);
        let refuted = close.filter(|close| {
            close.refutes() && !outgrown && !apart(whole, least).is_some_and(|it| it.follows())
        });
        if let Some(close) = refuted {
            if close.explains() {
                self.explained = Some(self.serial);
            }
            return Answer::NoQueue;
        }
        self.queue_blocks = queue_blocks + 1;
        let enough = BURST_SHARE * found.knee + BURST_PLUS;
        let sure = self.queue_blocks >= QUEUE_BLOCKS_MIN && self.in_flight >= enough;
        let high = self.whole(now).last();
        if sure && high.is_some_and(|high| self.lasts(now, high)) {
            Answer::Queue(found)
        } else {
            Answer::Unknown
        }
    }

    /// Whether the queue is not about to go away by itself.
    fn lasts(&self, now: Instant, high: &Block) -> bool {
        let behind = self.behind(high.serial);
        let since = || {
            self.remembered()
                .filter(move |b| self.behind(b.serial) <= behind)
        };
        let peak = since().map(|b| b.peak).fold(0.0, f64::max);
        if self.in_flight < STANDS * peak {
            return false;
        }
        let half = high.sums.latency() / 2.0;
        let age = |b: &Block| now.saturating_duration_since(b.opened_at).as_secs_f64();
        let grows = since()
            .rfind(|b| age(b) >= half)
            .is_some_and(|then| self.in_flight >= GROWS * then.mean_in_flight());
        grows || self.in_flight <= SAME * high.sums.in_flight()
    }

    /// A queue is gone with no more in flight than so many times the knee.
    fn gone(&self) -> f64 {
        if self.uneven { UNEVEN } else { EMPTY }
    }

    /// Whether the queue holds more work than a burst that is served in time, or has stood for longer.
    fn outlasts_a_burst(&self, now: Instant, found: &Saturation) -> bool {
        let each = found.high.latency() / found.high.in_flight();
        let stands = |b: &&Block| b.least > self.gone() * found.knee;
        let since = self.remembered().rev().take_while(stands).last();
        let stood = since.map_or(Duration::ZERO, |b| {
            now.saturating_duration_since(b.opened_at)
        });
        let work = (self.in_flight - found.knee) * each;
        work.max(stood.as_secs_f64()) >= burst_secs(found.knee * each)
    }
}

impl Block {
    fn whole(&self) -> bool {
        self.ended >= BLOCK_ENDS && self.sums.n() >= f64::from(BLOCK / 2)
    }

    /// Whether it may still be running without being held up by a few that take very long.
    fn recent(&self, now: Instant, before: Option<&Self>) -> bool {
        let age = now.saturating_duration_since(self.opened_at).as_secs_f64();
        age < before.map_or(0.0, |before| STRAGGLING * before.sums.latency())
    }

    fn mean_in_flight(&self) -> f64 {
        self.in_flight / f64::from(self.admitted.max(1))
    }
}

/// Whether a block with this serial was opened with the one that has `from`, or later: serials
/// count round, so of any two the nearer way tells which is later.
pub(super) const fn is_since(serial: u32, from: u32) -> bool {
    earlier(serial, from) <= SERIAL_MASK / 2
}

const fn later(serial: u32, by: u32) -> u32 {
    serial.wrapping_add(by) & SERIAL_MASK
}

const fn earlier(serial: u32, by: u32) -> u32 {
    serial.wrapping_sub(by) & SERIAL_MASK
}

/// Requests in a block. Fewer are noisier, more are slower to come.
const BLOCK: u32 = 16;
/// Ends that make a block whole: nobody waits for the slowest two, in any block alike.
const BLOCK_ENDS: u32 = 14;
/// What ends later is a part of how long requests take, unless so many times as many are in flight by then: where a processor is shared it would have been slowed by them.
const LATE_RISE: f64 = 1.5;
/// The last two of a block make its mean so many times longer where few of the requests are most of the work,
const LONG: f64 = 1.5;
/// and they do in one block of so many. Where lengths differ less, as everywhere, the rest tells more.
const LONG_BLOCKS: usize = 4;
/// Blocks that are remembered. At four in a latency they span 32 of them, in which an overload of 3 % doubles what is in flight.
pub(super) const BLOCKS: usize = 128;
/// After so many latencies of the block before it, a block that is not whole is no longer waited for.
const STRAGGLING: f64 = 8.0;
/// Serials leave room in a tag for what kind it is, so they count round: at 8,000 samples a second after twelve days.
const SERIAL_MASK: u32 = (1 << 29) - 1;
/// Samples in flight at once, at most: four blocks.
const SAMPLES_IN_FLIGHT: f64 = 64.0;
/// A block spans at least this, so that a fast service is not slowed by samples.
const BLOCK_SECS_MIN: f64 = 0.002;
/// The thinnest sampling.
const ONE_IN_MAX: u16 = 1024;
/// After this the calmest block is that of another time.
const CALM_AGE_MAX: Duration = Duration::from_secs(60);
/// Whole blocks on end that must say that it is a queue. A step of latency looks like one while a single block
/// straddles it: asked once, 21 of 1,200 runs of a healthy service whose dependency slows were refused requests,
/// asked twice 8. It costs clients that give up in the first second of a brownout (crates/sim/README.md).
const QUEUE_BLOCKS_MIN: u32 = 2;
/// A block was admitted with about as many in flight as now if with this share of them.
const NEWEST_SHARE: f64 = 0.8;
/// A block with fewer in flight is taken too while there are fewer samples than a verification takes.
const NEWEST_MIN: f64 = 16.0;
/// More than four blocks say nothing more about now.
const NEWEST_MAX: f64 = 64.0;
/// Of a block in which fewer gave up than this share, most were waited for: it tells what is calm.
pub(super) const CALM_RATIO: f64 = 0.3;
/// A block of which so many gave up was waited for by next to nobody,
const IN_VAIN_RATIO: f64 = 0.9;
/// and so many of them on end are no chance where seven of ten leave a healthy service.
const IN_VAIN_MIN: u32 = 8;
/// When more give up than this share, latency is their patience and says nothing.
pub(super) const GIVEN_UP_RATIO: f64 = 0.5;
/// A block was answered as fast as the calm one within this factor: two errors of a block's mean where lengths differ by a fifth. Behind a full pool it has a tenth more in flight than run.
const ROOMY: f64 = 1.1;
/// A knee that was taken from a calm block is no smaller than this part of what is in flight: one cohort of a limit at the target, where less would refuse all.
const CALM_DISTANCE: f64 = 16.0;
/// With less than this many times the least in flight there is nothing to ask: what a limit at its target lets through.
const LEAST_RISE: f64 = 1.4;
/// A queue stands while it has this share of the most it had.
const STANDS: f64 = 0.95;
/// With fewer in flight than this share of the knee the queue was gone. The knee is known to a fifth, and a load that is just too much never comes down to it: with 1.1 overloads of 3 % were found later.
const EMPTY: f64 = 0.75;
/// With fewer than so many times the knee it was, where few of the requests are most of the work: at 0.8 of the capacity their long ones keep the workers busy for seconds, and queues come and go.
const UNEVEN: f64 = 2.0;
/// A knee that was found later counts only where the first was so many times larger.
const FIRST: f64 = 1.5;
/// It grows if it has so many times what it had half a latency ago,
const GROWS: f64 = 1.1;
/// or it is still what the slow requests met, within this factor.
const SAME: f64 = 1.25;

#[cfg(all(test, not(loom)))]
mod tests;
