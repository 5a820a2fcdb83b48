//! Watching without a limit: does latency rise *because* more requests are in flight?
//!
//! Requests are sampled into blocks of [`BLOCK`] in the order of their admission.
//! Between neighbouring blocks, `x` is the difference of the logarithm of how many were in flight at admission and `y` that of the latency.
//! Behind a full pool a request admitted with twice as many in flight takes twice as long: `y = x`.
//! A dependency that becomes slower moves `y` first, while `x` is still 0, and then moves `x` while `y` is 0: the sum of `x * y` stays small against its error, so nothing is concluded.
//! Differences, not levels: that is what tells cause from coincidence here, since in flight follows latency in a healthy service too.

use std::time::{Duration, Instant};

use super::sums::Sums;
use super::{BURST_PLUS, BURST_SHARE};

/// What a watch concludes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Saturation {
    /// The slow requests.
    pub(super) high: Sums,
    /// How many times slower they were because more were in flight.
    pub(super) slower: f64,
    /// How many run at once.
    pub(super) knee: f64,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    serial: u32,
    opened_at: Instant,
    admitted: u32,
    ended: u32,
    in_flight: f64,
    peak: f64,
    sums: Sums,
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
    /// What was seen before this block had another cause than a queue.
    explained: u32,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            blocks: [None; BLOCKS],
            serial: 1,
            one_in: 1,
            in_flight: 0.0,
            calm: None,
            explained: 0,
        }
    }

    /// Forgets everything; late ends of earlier samples are no longer recognised.
    pub(super) fn clear(&mut self) {
        self.serial = (self.serial + BLOCKS as u32 + 1) & SERIAL_MASK;
        self.blocks = [None; BLOCKS];
        self.one_in = 1;
        self.calm = None;
        self.explained = 0;
    }

    pub(super) fn one_in(&self) -> u16 {
        self.one_in
    }

    /// Takes a sample in; returns the serial of its block.
    pub(super) fn admitted(&mut self, now: Instant, in_flight: u32) -> u32 {
        self.in_flight = f64::from(in_flight);
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
                sums: Sums::default(),
            }),
        };
        block.admitted += 1;
        block.in_flight += self.in_flight;
        block.peak = block.peak.max(self.in_flight);
        if block.admitted == BLOCK {
            let took = now.saturating_duration_since(block.opened_at).as_secs_f64();
            self.serial = (serial + 1) & SERIAL_MASK;
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
        if block.serial != serial || block.ended >= BLOCK_ENDS {
            return None;
        }
        block.ended += 1;
        if let Some((latency, in_flight, abandoned)) = sample {
            block.sums.add(latency, in_flight, abandoned);
        }
        if block.ended < BLOCK_ENDS {
            return None;
        }
        let block = *block;
        self.conclude(now).or_else(|| self.given_up(&block))
    }

    /// When most clients give up, where they did not while fewer were in flight, something must be tried:
    /// latency then is the patience of the clients, and says nothing any more.
    fn given_up(&mut self, block: &Block) -> Option<Saturation> {
        let ratio = block.sums.abandoned_ratio();
        if ratio < 0.3 {
            let age = |b: &Block| block.opened_at.saturating_duration_since(b.opened_at);
            let better = |b: &Block| block.in_flight < b.in_flight || age(b) > CALM_AGE_MAX;
            if self.calm.as_ref().is_none_or(better) {
                self.calm = Some(*block);
            }
        }
        let calm = self.calm.as_ref().filter(|_| ratio > 0.5)?;
        let knee = calm.sums.in_flight().max(block.sums.in_flight() / 16.0);
        (self.in_flight >= BURST_SHARE * knee + BURST_PLUS).then_some(Saturation {
            high: block.sums,
            slower: block.sums.latency() / calm.sums.latency().max(1e-9),
            knee,
        })
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

    fn block(&self, serial: u32) -> Option<&Block> {
        self.blocks[serial as usize % BLOCKS]
            .as_ref()
            .filter(|block| block.serial == serial)
    }

    /// Asks the question of single blocks, of pairs and of fours: many in flight change fast, few change slowly.
    fn conclude(&mut self, now: Instant) -> Option<Saturation> {
        let mut whole = [Sums::default(); BLOCKS];
        let (mut n, mut explained, mut newest) = (0, 0, None);
        for serial in self.serial.saturating_sub(BLOCKS as u32 - 1)..=self.serial {
            if let Some(block) = self.block(serial).filter(|b| b.whole()) {
                whole[n] = block.sums;
                n += 1;
                newest = Some(block);
                if serial < self.explained {
                    explained = n;
                }
            }
        }
        let (whole, high) = (&whole[..n], *newest?);
        let noise = Noise::of(whole);
        // Where latency rose by itself a new story begins.
        let by_queue = |pair: &[Sums]| Difference::new(&pair[0], &pair[1]).by_queue(noise);
        let story = whole.windows(2).rposition(|pair| !by_queue(pair));
        let whole = &whole[story.map_or(0, |last| last + 1)..];
        let fresh = &whole[explained.saturating_sub(n - whole.len()).min(whole.len())..];
        let sure = |scale| slope(fresh, scale, 0.0, false).is_some_and(|slope| slope.sure());
        if ![1, 2, 4].into_iter().any(sure) {
            return None;
        }
        let found = saturation(fresh)?;
        let least = saturation(whole).map_or(found.knee, |s| s.knee.min(found.knee));
        // Whatever moves slowly moves together. Only a queue also follows the short ups and downs.
        let close = slope(whole, 1, 0.8 * least, true);
        if let Some(close) = close.filter(Slope::refutes) {
            if close.explains() {
                self.explained = self.serial;
            }
            return None;
        }
        let enough = BURST_SHARE * found.knee + BURST_PLUS;
        (self.in_flight >= enough && self.lasts(now, &high)).then_some(found)
    }

    /// Whether the queue is not about to go away by itself.
    fn lasts(&self, now: Instant, high: &Block) -> bool {
        let since = || (high.serial..=self.serial).filter_map(|s| self.block(s));
        let peak = since().map(|b| b.peak).fold(0.0, f64::max);
        if self.in_flight < 0.95 * peak {
            return false;
        }
        let half = 0.5 * high.sums.latency();
        let age = |b: &Block| now.saturating_duration_since(b.opened_at).as_secs_f64();
        let grows = since()
            .filter(|b| age(b) >= half)
            .last()
            .is_some_and(|then| self.in_flight >= 1.1 * then.mean_in_flight());
        grows || self.in_flight <= 1.25 * high.sums.in_flight()
    }
}

/// How many times slower the newest block is because more were in flight, and what follows.
fn saturation(blocks: &[Sums]) -> Option<Saturation> {
    let high = blocks.last()?;
    let low = blocks.iter().map(Sums::in_flight).fold(f64::INFINITY, f64::min);
    // One lucky block is no measure of what requests take when few are in flight.
    let mut few = Sums::default();
    for block in blocks.iter().filter(|b| b.in_flight() <= 1.25 * low) {
        few.merge(block);
    }
    let mut many = Sums::default();
    for block in blocks.iter().filter(|b| b.in_flight() >= 0.8 * high.in_flight()) {
        many.merge(block);
    }
    let more = many.in_flight() / few.in_flight().max(1.0);
    // More in flight cannot explain a latency that rose by more than they did.
    let slower = (many.latency() / few.latency().max(1e-9)).min(more);
    // What is uncertain goes to the side of those who would be refused.
    let error = (many.error_squared() + few.error_squared()).sqrt();
    let knee = many.in_flight() / (slower * (-error).exp()).max(1.0);
    (slower >= SLOWER_MIN).then_some(Saturation {
        high: many,
        slower,
        knee,
    })
}

/// How latency follows in flight from one group of blocks to the next, both in logarithms.
struct Slope {
    value: f64,
    /// Standard error by chance alone.
    chance: f64,
    /// Standard error.
    error: f64,
    /// Standard errors between the slope and nothing without the pairs that speak most for it.
    without: f64,
}

impl Slope {
    fn of(differences: &[Difference]) -> Option<Self> {
        let n = differences.len() as f64;
        let xx: f64 = differences.iter().map(|d| d.x * d.x).sum();
        if xx <= 0.0 {
            return None;
        }
        let value = differences.iter().map(|d| d.x * d.y).sum::<f64>() / xx;
        let chance: f64 = differences.iter().map(|d| d.x * d.x * d.noise).sum();
        let residual: f64 = differences.iter().map(|d| (d.y - value * d.x).powi(2)).sum();
        let chance = chance.sqrt() / xx;
        let error = chance.max((residual / (n - 1.0).max(1.0) / xx).sqrt());
        Some(Self { value, chance, error, without: 0.0 })
    }

    fn sure(&self) -> bool {
        self.value >= SLOPE_MIN && self.value >= SURE * self.error && self.without >= SURE_WITHOUT
    }

    /// Whether a queue's slope is out of the question.
    fn refutes(&self) -> bool {
        let error = self.doubt();
        error < REFUTED_ERROR_MAX && self.value < CLOSE - REFUTED * error
    }

    /// Whether it is so plainly out of the question that what was seen so far is explained.
    fn explains(&self) -> bool {
        let error = self.doubt();
        error < EXPLAINED_ERROR_MAX && self.value < CLOSE - EXPLAINED * error
    }

    /// The error by chance, unless what scatters is far more than chance.
    fn doubt(&self) -> f64 {
        if self.error < 2.0 * self.chance { self.chance } else { self.error }
    }
}

/// The slope between neighbours that both had at least `from` in flight; without the trend that all share, if so wished.
fn slope(blocks: &[Sums], scale: usize, from: f64, trendless: bool) -> Option<Slope> {
    let mut differences = [Difference::default(); BLOCKS];
    let mut n = 0;
    let mut later: Option<Sums> = None;
    for group in blocks.rchunks_exact(scale) {
        let mut sums = Sums::default();
        for block in group {
            sums.merge(block);
        }
        if let Some(later) = later.replace(sums) {
            let difference = Difference::new(&sums, &later);
            if sums.in_flight().min(later.in_flight()) >= from {
                differences[n] = difference;
                n += 1;
            }
        }
    }
    let differences = &mut differences[..n];
    if n < PAIRS_MIN {
        return None;
    }
    if trendless {
        let mean = |of: fn(&Difference) -> f64| differences.iter().map(of).sum::<f64>() / n as f64;
        let (x, y) = (mean(|d| d.x), mean(|d| d.y));
        for difference in &mut *differences {
            difference.x -= x;
            difference.y -= y;
        }
        return Slope::of(differences);
    }
    for difference in &mut *differences {
        // More than this is no queue's doing, or that of one before short requests: both count once.
        let most = 1.5 * difference.x.abs();
        difference.y = difference.y.clamp(-most, most);
    }
    let all = Slope::of(differences)?;
    // Two pairs must not decide: that is how a step looks that has nothing to do with a queue.
    differences.sort_unstable_by(|a, b| (a.x * a.y).total_cmp(&(b.x * b.y)));
    let rest = Slope::of(&differences[..n - STEP_PAIRS])?;
    Some(Slope { without: rest.value / rest.error.max(1e-9), ..all })
}

/// Variances of what a block says, over all blocks: one of short requests alone does not know its own.
#[derive(Clone, Copy)]
struct Noise {
    logs: f64,
    means: f64,
}

impl Noise {
    fn of(blocks: &[Sums]) -> Self {
        let mean = |of: fn(&Sums) -> f64| blocks.iter().map(of).sum::<f64>() / blocks.len().max(1) as f64;
        Self {
            logs: mean(Sums::log_error_squared),
            means: mean(Sums::error_squared),
        }
    }
}

/// What differs between two neighbours.
#[derive(Clone, Copy, Debug, Default)]
struct Difference {
    x: f64,
    y: f64,
    /// Variance of `y` if nothing but chance were at work.
    noise: f64,
    /// As `y`, of the means.
    means: f64,
}

impl Difference {
    fn new(a: &Sums, b: &Sums) -> Self {
        Self {
            x: ln_ratio(b.in_flight(), a.in_flight()),
            y: b.log() - a.log(),
            noise: a.log_error_squared() + b.log_error_squared(),
            means: ln_ratio(b.latency(), a.latency()),
        }
    }

    /// Whether a queue could do it: it makes the mean rise at most as much as `x`, but for a step
    /// when many workers finish at once.
    /// What is more has another cause, and must neither count for a queue nor drown it.
    fn by_queue(&self, noise: Noise) -> bool {
        let most = |noise: f64| 1.5 * self.x.abs() + STEP + 3.0 * (2.0 * noise).sqrt();
        self.means.abs() <= most(noise.means) || self.y.abs() <= most(noise.logs)
    }
}

impl Block {
    fn whole(&self) -> bool {
        self.ended >= BLOCK_ENDS && self.sums.n() >= f64::from(BLOCK / 2)
    }

    fn mean_in_flight(&self) -> f64 {
        self.in_flight / f64::from(self.admitted.max(1))
    }
}

fn ln_ratio(a: f64, b: f64) -> f64 {
    (a.max(1e-9) / b.max(1e-9)).ln()
}

/// Requests in a block. Fewer are noisier, more are slower to come.
const BLOCK: u32 = 16;
/// Ends that make a block whole: nobody waits for the slowest two, in any block alike.
const BLOCK_ENDS: u32 = 14;
/// Blocks that are remembered. At four in a latency they span 32 of them, in which an overload of 3 % doubles what is in flight.
const BLOCKS: usize = 128;
/// Serials leave room in a tag for what kind it is.
const SERIAL_MASK: u32 = (1 << 29) - 1;
/// Samples in flight at once, at most: four blocks.
const SAMPLES_IN_FLIGHT: f64 = 64.0;
/// A block spans at least this, so that a fast service is not slowed by samples.
const BLOCK_SECS_MIN: f64 = 0.002;
/// The thinnest sampling.
const ONE_IN_MAX: u16 = 1024;
/// After this the calmest block is that of another time.
const CALM_AGE_MAX: Duration = Duration::from_secs(60);
/// Differences that a conclusion needs.
const PAIRS_MIN: usize = 4;
/// Differences over which a step spreads.
const STEP_PAIRS: usize = 1;
/// Latency must rise at least with this power of in flight. A full pool has 1.
const SLOPE_MIN: f64 = 0.35;
/// Standard errors between the slope and nothing. Blocks come a hundred in a second for years.
const SURE: f64 = 4.0;
/// The logarithm by which a mean may rise at once and still be a queue.
const STEP: f64 = 0.35;
/// What the short ups and downs show of a full pool's slope of 1: work in the queue is not quite in step with its length.
/// Measured 0.6-0.8 behind a pool, and 0.0-0.2 behind a dependency that comes and goes.
const CLOSE: f64 = 0.6;
/// Standard errors by which they must miss it to refute a queue.
const REFUTED: f64 = 1.5;
/// With a larger error the short ups and downs say nothing.
const REFUTED_ERROR_MAX: f64 = 0.25;
/// With this error and this many of them, what was seen so far is explained and is not asked again.
const EXPLAINED_ERROR_MAX: f64 = 0.12;
const EXPLAINED: f64 = 3.0;
/// The same without the pairs that speak most for it.
const SURE_WITHOUT: f64 = 2.5;
/// Requests must have become this many times slower.
const SLOWER_MIN: f64 = 1.8;
