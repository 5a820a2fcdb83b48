//! What the clients saw and what the servers wrote down, counted.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    backend::Ended,
    client::Method,
    front::Front,
    load::{End, Record},
    subject::Kind,
};

/// A request that ends later than this after its moment is late: twenty times what the
/// slowest handler takes.
pub const SLO: Duration = Duration::from_secs(1);

/// The counts of one subject, behind one front, for one method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who served.
    pub subject: Kind,
    /// Behind what.
    pub front: Front,
    /// How was asked.
    pub method: Method,
    /// Restarts of the run, shared by its methods.
    pub restarts: u32,
    /// Requests that were due.
    pub requests: u64,
    /// Reset, or ended within the answer, or answered with another's.
    pub lost: u64,
    /// Ended before the first byte of an answer.
    pub empty: u64,
    /// Answered with 5xx.
    pub server_errors: u64,
    /// Processed more than once.
    pub duplicated: u64,
    /// Ended after [`SLO`].
    pub late: u64,
    /// Never sent, or not looked at: a refused connect, an HTTP/2 stream beyond GOAWAY.
    pub refused: u64,
    /// Processed, and the client has no good answer.
    pub unanswered: u64,
    /// Answered with a status that is neither 200 nor 5xx.
    pub other: u64,
}

impl Row {
    /// Requests that went wrong in a way no client may repeat blindly.
    #[must_use]
    pub const fn bad(&self) -> u64 {
        self.lost + self.empty + self.server_errors + self.duplicated + self.other
    }

    /// Whether both count the same subject, front and method.
    #[must_use]
    pub fn is_of_the_kind_of(&self, other: &Self) -> bool {
        (self.subject, self.front, self.method) == (other.subject, other.front, other.method)
    }

    /// Adds another rollout of the same kind.
    pub const fn add(&mut self, other: &Self) {
        self.restarts += other.restarts;
        self.requests += other.requests;
        self.lost += other.lost;
        self.empty += other.empty;
        self.server_errors += other.server_errors;
        self.duplicated += other.duplicated;
        self.late += other.late;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.other += other.other;
    }

    /// As one line of JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "bench": "rollouts", "subject": self.subject.name(), "front": self.front.name(),
            "method": self.method.name(), "restarts": self.restarts, "requests": self.requests,
            "lost": self.lost, "empty": self.empty, "server_errors": self.server_errors,
            "duplicated": self.duplicated, "late": self.late, "refused": self.refused,
            "unanswered": self.unanswered, "other": self.other,
            "bad_ratio_95": upper_bound(self.bad(), self.requests),
        })
    }
}

/// Counts a run: one row for each method.
#[must_use]
pub fn rows(
    subject: Kind,
    front: Front,
    restarts: u32,
    records: &[Record],
    ended: &[Ended],
) -> Vec<Row> {
    let mut processed: HashMap<&str, u64> = HashMap::new();
    for id in ended.iter().flat_map(|it| &it.journal) {
        *processed.entry(id).or_default() += 1;
    }
    [Method::Get, Method::Post]
        .map(|method| {
            let mut row = Row {
                subject,
                front,
                method,
                restarts,
                requests: 0,
                lost: 0,
                empty: 0,
                server_errors: 0,
                duplicated: 0,
                late: 0,
                refused: 0,
                unanswered: 0,
                other: 0,
            };
            for record in records.iter().filter(|record| record.method == method) {
                let times = processed.get(&*record.id.to_string()).copied().unwrap_or(0);
                let good = matches!(record.end, End::Good(_));
                row.requests += 1;
                row.lost += u64::from(matches!(record.end, End::Lost(_)));
                row.empty += u64::from(record.end == End::Empty);
                row.refused += u64::from(matches!(record.end, End::Refused(_)));
                row.server_errors += u64::from(matches!(record.end, End::Status(500..)));
                row.other += u64::from(matches!(record.end, End::Status(..500)));
                row.duplicated += u64::from(times > 1);
                row.unanswered += u64::from(times > 0 && !good);
                row.late += u64::from(record.latency > SLO);
            }
            row
        })
        .to_vec()
}

/// What one process reported of its way out, beside what the clients have of it.
///
/// The moment at which leaving began is between the signal and the first answer that was
/// given while leaving, so the clients' count has two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The process.
    pub label: String,
    /// Requests that it says it served on its way out, without its own failing probes.
    pub served: u64,
    /// What it says it cut, or saw abandoned.
    pub cut: u64,
    /// Good answers that it gave while leaving.
    pub at_least: u64,
    /// Good answers of it that ended after the signal, and one for each prober: a probe that
    /// was told yes just before may end just after.
    pub at_most: u64,
    /// Requests that it has written down and that no client has a good answer to.
    pub unanswered: u64,
}

impl Account {
    /// Whether both tell the same.
    #[must_use]
    pub fn agrees(&self) -> bool {
        (self.at_least..=self.at_most).contains(&self.served) && self.cut == self.unanswered
    }
}

/// Puts both beside each other, for processes that report. Each of `probers` asks whether the
/// process is ready, one question after the other.
#[must_use]
pub fn accounts(records: &[Record], ended: &[Ended], probers: u64) -> Vec<Account> {
    let mut good: HashMap<&str, Vec<&Record>> = HashMap::new();
    let mut has_answer = HashSet::new();
    for record in records {
        if let End::Good(label) = &record.end {
            good.entry(label).or_default().push(record);
            has_answer.insert(record.id.to_string());
        }
    }
    let account = |ended: &Ended| {
        let served = ended.report["served"].as_u64()?;
        let number = |name: &str| ended.report[name].as_u64().unwrap_or(0);
        let good = good.get(&*ended.label).map_or(&[][..], Vec::as_slice);
        let count = |wanted: &dyn Fn(&Record) -> bool| {
            u64::try_from(good.iter().filter(|it| wanted(it)).count()).unwrap_or(u64::MAX)
        };
        let unanswered = ended.journal.iter().filter(|id| !has_answer.contains(*id));
        Some(Account {
            label: ended.label.clone(),
            served: served.saturating_sub(number("failing_probes")),
            cut: number("cut_total") + number("abandoned"),
            at_least: count(&|it| it.leaving),
            at_most: count(&|it| it.ended_at.into_std() >= ended.told_at) + probers,
            unanswered: u64::try_from(unanswered.filter(|id| *id != "probe").count()).unwrap_or(0),
        })
    };
    ended.iter().filter_map(account).collect()
}

/// Ids that clients have a good answer to and no journal has: there must be none.
#[must_use]
pub fn unwritten(records: &[Record], ended: &[Ended]) -> usize {
    let processed: HashSet<&str> = ended
        .iter()
        .flat_map(|it| it.journal.iter().map(String::as_str))
        .collect();
    let good = records
        .iter()
        .filter(|record| matches!(record.end, End::Good(_)));
    good.filter(|record| !processed.contains(&*record.id.to_string()))
        .count()
}

/// The ratio that is not exceeded with 95 % confidence when `bad` of `all` went wrong: the
/// exact bound of a Poisson count, which for none is the rule of three, `3 / all`.
#[must_use]
pub fn upper_bound(bad: u64, all: u64) -> f64 {
    // Bisection of the mean at which so few are seen in 5 % of the runs.
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let (seen, all) = (bad as f64, (all as f64).max(1.0));
    let (mut low, mut high) = (seen, seen + 4.0 * seen.sqrt() + 10.0);
    for _ in 0..60 {
        let mean = f64::midpoint(low, high);
        if at_most(bad, mean) > 0.05 {
            low = mean;
        } else {
            high = mean;
        }
    }
    (high / all).min(1.0)
}

/// The chance of at most `count` events when `mean` are expected.
fn at_most(count: u64, mean: f64) -> f64 {
    // In logarithms: the terms of a large mean underflow.
    let mut log = -mean;
    let mut sum = log.exp();
    for k in 1..=count {
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let k = k as f64;
        log += mean.ln() - k.ln();
        sum += log.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_of_many_is_the_rule_of_three() {
        let bound = upper_bound(0, 200_000) * 200_000.0;
        assert!((bound - 2.9957).abs() < 1e-3, "{bound}");
    }

    #[test]
    fn the_bound_is_the_table_s() {
        // Exact 95 % upper limits of a Poisson mean.
        for (seen, limit) in [(1, 4.744), (5, 10.513), (20, 29.062), (100, 118.08)] {
            let bound = upper_bound(seen, 1_000_000) * 1e6;
            assert!((bound - limit).abs() < 0.01, "{seen}: {bound}");
        }
    }

    #[test]
    fn what_was_processed_twice_or_for_nothing_is_counted() {
        let record = |id, end| Record {
            id,
            method: Method::Post,
            target: crate::load::Target::Fast,
            end,
            latency: Duration::ZERO,
            ended_at: tokio::time::Instant::now(),
            leaving: false,
        };
        let records = [
            record(0, End::Good("a-1".into())),
            record(1, End::Status(502)),
            record(2, End::Empty),
            record(3, End::Refused("refused".into())),
        ];
        let ended = [Ended {
            label: "a-1".into(),
            status: Some(0),
            told_at: std::time::Instant::now(),
            took: Duration::ZERO,
            report: Value::Null,
            journal: ["0", "0", "1"].map(str::to_owned).to_vec(),
        }];
        let rows = rows(Kind::Ours, Front::Nginx, 1, &records, &ended);
        let [get, post] = &rows[..] else {
            panic!("two methods");
        };
        assert_eq!(get.requests, 0);
        let counts = (
            post.requests,
            post.lost,
            post.empty,
            post.server_errors,
            post.duplicated,
            post.refused,
            post.unanswered,
        );
        assert_eq!(counts, (4, 0, 1, 1, 1, 1, 1));
        assert_eq!(unwritten(&records, &ended), 0);
    }
}
