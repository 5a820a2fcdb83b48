//! The statistics of a watch: how latency follows in flight from one block of requests to the next.
//!
//! With `x` the difference of the logarithm of in flight between neighbouring blocks and `y` that of latency, the slope is `sum(x y) / sum(x²)`.
//! Its standard error is the larger of what chance explains (the variance inside blocks) and what the scatter around it shows.

use super::sums::Sums;
use super::watch::BLOCKS;

/// What a watch concludes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Saturation {
    /// The slow requests.
    pub(super) high: Sums,
    /// How many times slower they were because more were in flight.
    pub(super) slower: f64,
    /// How many run at once.
    pub(super) knee: f64,
    /// Variance of what requests take that have room, in square seconds.
    pub(super) scatter: f64,
    /// Whether that is a guess, because most clients gave up.
    pub(super) guessed: bool,
}

/// How many times slower the newest block is because more were in flight, and what follows.
///
/// Where lengths are `uneven` a few blocks with room may have none of the long requests, and do not know by how much they differ; whoever waits in a queue still shows it, because all of them wait alike.
pub(super) fn saturation(blocks: &[Sums], uneven: bool) -> Option<Saturation> {
    let high = blocks.last()?;
    let low = blocks
        .iter()
        .map(Sums::in_flight)
        .fold(f64::INFINITY, f64::min);
    let mut many = Sums::default();
    for block in blocks
        .iter()
        .filter(|b| b.in_flight() >= MANY * high.in_flight())
    {
        many.merge(block);
    }
    let seen = if uneven { variance(blocks) } else { 0.0 };
    let mut order: [usize; BLOCKS] = std::array::from_fn(|index| index);
    let order = &mut order[..blocks.len()];
    order.sort_unstable_by(|a, b| blocks[*a].in_flight().total_cmp(&blocks[*b].in_flight()));
    // One lucky block is no measure of what requests take when few are in flight; and where they differ a lot, few are in flight while those that run happen to be short. So whoever had room counts, of which the knee that follows is the test.
    let (mut few, mut slower, mut knee) = (Sums::default(), 0.0, 0.0);
    let (mut variances, mut scatter) = (0.0, 0.0);
    for index in &*order {
        let block = &blocks[*index];
        few.merge(block);
        variances += block.variance() * block.n();
        let more = many.in_flight() / few.in_flight().max(1.0);
        // More in flight cannot explain a latency that rose by more than they did.
        let slows = (many.latency() / few.latency().max(1e-9)).min(more);
        // What is uncertain goes to the side of those who would be refused; who waits, waits for the sum of what so many others take.
        let varies = (variances / few.n().max(1.0)).max(seen);
        let own = varies / few.latency().max(1e-9).powi(2) / few.n().max(1.0);
        let queue = varies / few.latency().max(1e-9).powi(2) / many.in_flight().max(1.0);
        let error = (many.error_squared() + few.error_squared().max(own) + queue).sqrt();
        let runs = many.in_flight() / (slows * (-error).exp()).max(1.0);
        if block.in_flight() <= (FEW * low).max(ROOM * runs) {
            (slower, knee, scatter) = (slows, runs, varies);
        }
    }
    (slower >= SLOWER_MIN).then_some(Saturation {
        high: many,
        slower,
        knee,
        scatter,
        guessed: false,
    })
}

/// Variance inside blocks, over all of them, in square seconds.
fn variance(blocks: &[Sums]) -> f64 {
    let total: f64 = blocks.iter().map(|b| b.variance() * b.n()).sum();
    total / blocks.iter().map(Sums::n).sum::<f64>().max(1.0)
}

/// How latency follows in flight from one group of blocks to the next, both in logarithms.
pub(super) struct Slope {
    value: f64,
    /// Standard error by chance alone.
    chance: f64,
    /// Standard error.
    error: f64,
    /// Whether it is a slope still without the pair that speaks most for it.
    holds: bool,
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
        let residual: f64 = differences
            .iter()
            .map(|d| (d.y - value * d.x).powi(2))
            .sum();
        let chance = chance.sqrt() / xx;
        let error = chance.max((residual / (n - 1.0).max(1.0) / xx).sqrt());
        Some(Self {
            value,
            chance,
            error,
            holds: false,
        })
    }

    pub(super) fn sure(&self) -> bool {
        self.value >= SLOPE_MIN && self.value >= SURE * self.error && self.holds
    }

    /// Whether a queue's slope is out of the question.
    pub(super) fn refutes(&self) -> bool {
        let error = self.doubt();
        error < REFUTED_ERROR_MAX && self.value < CLOSE - REFUTED * error
    }

    /// Whether it is a queue's and known well.
    pub(super) fn follows(&self) -> bool {
        self.doubt() < FOLLOWS_ERROR_MAX && self.value >= FOLLOWS
    }

    /// Whether it is so plainly out of the question that what was seen so far is explained.
    pub(super) fn explains(&self) -> bool {
        let error = self.doubt();
        error < EXPLAINED_ERROR_MAX && self.value < CLOSE - EXPLAINED * error
    }

    /// The error by chance, unless what scatters is far more than chance.
    fn doubt(&self) -> f64 {
        if self.error < FAR_MORE * self.chance {
            self.chance
        } else {
            self.error
        }
    }
}

/// The slope between neighbours that both had at least `from` in flight; without the trend that all share, if so wished.
pub(super) fn slope(blocks: &[Sums], scale: usize, from: f64, trendless: bool) -> Option<Slope> {
    let mut differences = [Difference::default(); BLOCKS];
    let n = differ(blocks, scale, from, &mut differences);
    let differences = &mut differences[..n];
    if n < PAIRS_MIN {
        return None;
    }
    if trendless {
        let trend = Difference::mean(differences);
        for difference in &mut *differences {
            difference.x -= trend.x;
            difference.y -= trend.y;
        }
        return Slope::of(differences);
    }
    for difference in &mut *differences {
        // More than this is no queue's doing, or that of one before short requests: both count once.
        let most = SLOPE_MAX * difference.x.abs();
        difference.y = difference.y.clamp(-most, most);
    }
    let all = Slope::of(differences)?;
    // Two pairs must not decide: that is how a step looks that has nothing to do with a queue.
    differences.sort_unstable_by(|a, b| (a.x * a.y).total_cmp(&(b.x * b.y)));
    let rest = Slope::of(&differences[..n - STEP_PAIRS])?;
    let holds = rest.value >= SLOPE_MIN && rest.value >= SURE_WITHOUT * rest.error;
    Some(Slope { holds, ..all })
}

/// The slope of what is left when each difference loses what its neighbours share with it, over fours of blocks that were all well beyond the `knee`.
///
/// Single blocks at a pool that is just full have a slope of nothing: some of their requests did not wait at all. Fours of them, further out, follow a queue for certain even when it grows by 3 % of the capacity.
/// Where what they share is as large as what is left, it is that which would be seen, and nothing is said.
pub(super) fn apart(blocks: &[Sums], knee: f64) -> Option<Slope> {
    let mut differences = [Difference::default(); BLOCKS];
    let n = differ(blocks, APART_SCALE, APART_FROM * knee, &mut differences);
    if n < APART_PAIRS_MIN {
        return None;
    }
    let before = differences;
    let (mut shared, mut left) = ((0.0, 0.0), (0.0, 0.0));
    for (i, difference) in differences[..n].iter_mut().enumerate() {
        let around = i.saturating_sub(APART_AROUND)..(i + APART_AROUND + 1).min(n);
        let trend = Difference::mean(&before[around]);
        difference.x -= trend.x;
        difference.y -= trend.y;
        shared = (shared.0 + trend.x.powi(2), shared.1 + trend.y.powi(2));
        left = (left.0 + difference.x.powi(2), left.1 + difference.y.powi(2));
    }
    let told = shared.0 <= APART_SHARED * left.0 && shared.1 <= APART_SHARED * left.1;
    told.then(|| Slope::of(&differences[..n])).flatten()
}

/// Differences between neighbouring groups of `scale` blocks that both had at least `from` in flight, the newest first; returns how many.
fn differ(blocks: &[Sums], scale: usize, from: f64, into: &mut [Difference; BLOCKS]) -> usize {
    let mut n = 0;
    let mut later: Option<Sums> = None;
    for group in blocks.rchunks_exact(scale) {
        let mut sums = Sums::default();
        for block in group {
            sums.merge(block);
        }
        if let Some(later) = later.replace(sums) {
            if sums.in_flight().min(later.in_flight()) >= from {
                into[n] = Difference::new(&sums, &later);
                n += 1;
            }
        }
    }
    n
}

/// Variances of what a block says, over all blocks: one of short requests alone does not know its own.
#[derive(Clone, Copy)]
pub(super) struct Noise {
    logs: f64,
    means: f64,
}

impl Noise {
    pub(super) fn of(blocks: &[Sums]) -> Self {
        let mean =
            |of: fn(&Sums) -> f64| blocks.iter().map(of).sum::<f64>() / blocks.len().max(1) as f64;
        Self {
            logs: mean(Sums::log_error_squared),
            means: mean(Sums::error_squared),
        }
    }
}

/// What differs between two neighbours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Difference {
    x: f64,
    y: f64,
    /// Variance of `y` if nothing but chance were at work.
    noise: f64,
    /// As `y`, of the means.
    means: f64,
}

impl Difference {
    /// The mean of what they say.
    fn mean(of: &[Self]) -> Self {
        let n = of.len().max(1) as f64;
        Self {
            x: of.iter().map(|d| d.x).sum::<f64>() / n,
            y: of.iter().map(|d| d.y).sum::<f64>() / n,
            ..Self::default()
        }
    }

    pub(super) fn new(a: &Sums, b: &Sums) -> Self {
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
    pub(super) fn by_queue(&self, noise: Noise) -> bool {
        let most = |noise: f64| SLOPE_MAX * self.x.abs() + STEP + CHANCE * (2.0 * noise).sqrt();
        self.means.abs() <= most(noise.means) || self.y.abs() <= most(noise.logs)
    }
}

fn ln_ratio(a: f64, b: f64) -> f64 {
    (a.max(1e-9) / b.max(1e-9)).ln()
}

/// Differences that a conclusion needs.
const PAIRS_MIN: usize = 4;
/// Differences over which a step spreads.
const STEP_PAIRS: usize = 1;
/// Latency must rise at least with this power of in flight. A full pool has 1.
const SLOPE_MIN: f64 = 0.35;
/// Standard errors between the slope and nothing. Blocks come a hundred in a second for years.
const SURE: f64 = 4.0;
/// The same without the pairs that speak most for it.
const SURE_WITHOUT: f64 = 2.5;
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
/// Blocks beyond so many knees have no request that did not wait.
const APART_FROM: f64 = 1.25;
/// Four blocks span a latency: in flight moves twice as far as in one, and the mean of their latencies is twice as sure.
const APART_SCALE: usize = 4;
/// What two neighbours on each side share is the trend.
const APART_AROUND: usize = 2;
/// Fewer differences say nothing. With four, a dependency that slows within 2 s was refused in 7 of 200 runs.
const APART_PAIRS_MIN: usize = 8;
/// The trend may be so much of what is left: of noise alone it is a quarter. With 1, waves of latency were refused in 16 of 200 runs, with this in 8.
const APART_SHARED: f64 = 0.7;
/// A queue's slope of fours.
const FOLLOWS: f64 = 0.7;
/// With a larger error it is not known.
const FOLLOWS_ERROR_MAX: f64 = 0.2;
/// Requests must have become this many times slower.
const SLOWER_MIN: f64 = 1.8;
/// A block is of those with few in flight within this factor of the least,
const FEW: f64 = 1.25;
/// and of those with many with this share of what the newest had.
const MANY: f64 = 0.8;
/// With no more in flight than this share of the knee requests have room.
const ROOM: f64 = 0.7;
/// Scatter that is more than so many times chance has another cause, and counts as the error.
const FAR_MORE: f64 = 2.0;
/// No queue makes latency rise with more than this power of in flight.
const SLOPE_MAX: f64 = 1.5;
/// Standard errors of the difference of two blocks that chance may explain.
const CHANCE: f64 = 3.0;

#[cfg(test)]
mod tests;
