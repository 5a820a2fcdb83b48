//! The storm as a monitoring system sees it: the service's metrics, scraped as Prometheus
//! does, and written down as a unit test for `promtool`.
//!
//! The alert rules in `examples/deploy/prometheus` are tested on that file, so what is
//! written is only what they read, and what they must say at the end of each weather.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::task::JoinHandle;

use super::{
    SECOND,
    client::{Ask, Client},
};
use crate::Fatal;

/// Between two scrapes. Shorter than in production, so that three minutes are enough.
const SCRAPE_SECS: u64 = 5;

/// What the rules read.
const KEPT: [&str; 9] = [
    "steadfast_admitted_total",
    "steadfast_demand",
    "steadfast_in_flight",
    "steadfast_incident_start_time_seconds",
    "steadfast_maintenance",
    "steadfast_outage_start_time_seconds",
    "steadfast_phase",
    "steadfast_refusals_total",
    "steadfast_runtime_lag_seconds",
];

/// Whom the samples come from, as a scrape configuration would say.
const TARGET: &str = "instance=\"shop-1:8000\",job=\"shop\"";

/// How long each weather lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    pub(super) calm: Duration,
    pub(super) overload: Duration,
    /// How long payments stays dead after the service has noticed.
    pub(super) dead: Duration,
    pub(super) mended: Duration,
}

impl Lengths {
    /// For somebody who watches.
    pub(super) const QUICK: Self = Self {
        calm: Duration::from_secs(3),
        overload: Duration::from_secs(6),
        dead: Duration::from_secs(4),
        mended: Duration::from_secs(2),
    };

    /// For rules that look at the last minute and wait before they say anything.
    pub(super) const SLOW: Self = Self {
        calm: Duration::from_secs(30),
        overload: Duration::from_secs(100),
        dead: Duration::from_secs(60),
        mended: Duration::from_secs(80),
    };
}

/// What was scraped so far.
#[derive(Debug, Default)]
struct Scraped {
    /// How often.
    times: usize,
    /// Each series with its values; what was not there yet has none.
    series: BTreeMap<String, Vec<Option<String>>>,
    /// After how many scrapes a weather was over, and which alerts fire then.
    ends: Vec<(&'static str, usize, &'static [&'static str])>,
}

/// Scrapes the service until it is dropped.
pub(super) struct Series {
    file: PathBuf,
    scraped: Arc<Mutex<Scraped>>,
    scraping: JoinHandle<()>,
}

impl Series {
    /// Begins to scrape what answers at this address.
    pub(super) fn start(file: PathBuf, metrics: &str) -> Self {
        let client = Client::new(metrics.trim_end_matches("/metrics"), "");
        let scraped = Arc::<Mutex<Scraped>>::default();
        let into = Arc::clone(&scraped);
        let scraping = tokio::spawn(async move {
            // Times since the first scrape, since a unit test begins at zero.
            let zero = unix_now();
            let mut ticks = tokio::time::interval(SECOND * SCRAPE_SECS as u32);
            loop {
                ticks.tick().await;
                let text = client.text(Ask::get("/metrics")).await.unwrap_or_default();
                lock(&into).take(&text, zero);
            }
        });
        Self {
            file,
            scraped,
            scraping,
        }
    }

    /// Notes that a weather is over, and which alerts have to fire at its end.
    pub(super) fn ends(&self, weather: &'static str, alerts: &'static [&'static str]) {
        let mut scraped = lock(&self.scraped);
        let times = scraped.times;
        scraped.ends.push((weather, times, alerts));
    }

    /// Writes the unit test.
    pub(super) fn write(&self) -> Result<(), Fatal> {
        self.scraping.abort();
        let text = lock(&self.scraped).unit_test();
        std::fs::write(&self.file, text)
            .map_err(|error| Fatal::new(format!("{}: {error}", self.file.display())))
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        self.scraping.abort();
    }
}

impl Scraped {
    fn take(&mut self, text: &str, zero: f64) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let name = series.split('{').next().unwrap_or_default();
            if !KEPT.contains(&name) {
                continue;
            }
            let labels = series[name.len()..].trim_matches(['{', '}']);
            let comma = if labels.is_empty() { "" } else { "," };
            let value = match value.parse::<f64>() {
                Ok(at) if name.ends_with("_time_seconds") && at > 0.0 => {
                    // Never zero, which would say that there is none.
                    format!("{:.1}", (at - zero).max(0.1))
                }
                Ok(value) if value.is_nan() => "NaN".to_owned(),
                Ok(value) => format!("{}", (value * 1e4).round() / 1e4),
                Err(_) => continue,
            };
            let key = format!("{name}{{{labels}{comma}{TARGET}}}");
            let values = self.series.entry(key).or_default();
            values.resize(self.times, None);
            values.push(Some(value));
        }
        self.times += 1;
        for values in self.series.values_mut() {
            values.resize(self.times, None);
        }
    }

    fn unit_test(&self) -> String {
        let mut out = format!(
            "# A real storm, scraped: `cargo run -p shop -- storm --series FILE` writes this file.\n\
             # `promtool test rules` holds the rules against it.\n\
             rule_files:\n  - recording.yaml\n  - alerts.yaml\nevaluation_interval: {SCRAPE_SECS}s\n\
             # Otherwise promtool takes the groups in any order, and an alert may be a step late.\n\
             group_eval_order: [steadfast-recording, steadfast-alerts]\n\
             tests:\n  - name: a storm\n    interval: {SCRAPE_SECS}s\n    input_series:\n"
        );
        for (series, values) in &self.series {
            let _ = writeln!(
                out,
                "      - series: '{series}'\n        values: '{}'",
                runs(values)
            );
        }
        out.push_str("    promql_expr_test:\n");
        for (weather, times, alerts) in &self.ends {
            let at = times.saturating_sub(1) as u64 * SCRAPE_SECS;
            let _ = writeln!(
                out,
                "      # The end of: {weather}.\n      - expr: count by (alertname) (ALERTS{{alertstate=\"firing\"}})\n        eval_time: {at}s"
            );
            if alerts.is_empty() {
                out.push_str("        exp_samples: []\n");
                continue;
            }
            out.push_str("        exp_samples:\n");
            for alert in *alerts {
                let _ = writeln!(
                    out,
                    "          - labels: '{{alertname=\"{alert}\"}}'\n            value: 1"
                );
            }
        }
        out
    }
}

/// Values in promtool's notation: a run of equal ones is written once.
fn runs(values: &[Option<String>]) -> String {
    let mut parts = Vec::new();
    for run in values.chunk_by(|a, b| a == b) {
        let more = run.len() - 1;
        parts.push(match (&run[0], more) {
            (None, more) => format!("_x{}", more + 1),
            (Some(value), 0) => value.clone(),
            (Some(value), more) if value.parse::<f64>().is_ok_and(f64::is_finite) => {
                format!("{value}+0x{more}")
            }
            (Some(value), more) => vec![value.as_str(); more + 1].join(" "),
        });
    }
    parts.join(" ")
}

#[allow(
    clippy::disallowed_methods,
    reason = "a moment that the service tells as wall time is compared with one of this process"
)]
fn unix_now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

fn lock(scraped: &Mutex<Scraped>) -> MutexGuard<'_, Scraped> {
    scraped.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scraped_becomes_a_unit_test() {
        let mut scraped = Scraped::default();
        let texts = [
            "# HELP x y\nsteadfast_in_flight 2\nsteadfast_streams 9\n",
            "steadfast_in_flight 2\nsteadfast_incident_start_time_seconds{cause=\"overloaded\"} 1007\n",
            "steadfast_in_flight 3\nsteadfast_demand NaN\n",
        ];
        texts.iter().for_each(|text| scraped.take(text, 1000.0));
        scraped.ends.push(("calm", 3, &["Some"]));
        let test = scraped.unit_test();
        for part in [
            "'steadfast_in_flight{instance=\"shop-1:8000\",job=\"shop\"}'\n        values: '2+0x1 3'",
            "cause=\"overloaded\",instance=\"shop-1:8000\",job=\"shop\"}'\n        values: '_x1 7.0 _x1'",
            "values: '_x2 NaN'",
            "eval_time: 10s",
            "{alertname=\"Some\"}",
        ] {
            assert!(test.contains(part), "{part} in {test}");
        }
        assert!(!test.contains("streams"), "{test}");
    }
}
