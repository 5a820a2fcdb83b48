//! What the counts amount to: one value that is printed as text or as JSON.

use serde::Serialize;

use super::{
    burst::{self, Burst},
    cause::Cause,
    entry::Maker,
    shown::{inert, ratio},
    tally::{Sheet, Tally},
    time,
    top::Top,
};

/// The document that `--json` prints; `docs/why503-logs.schema.json` describes it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) schema: &'static str,
    /// The answer in one sentence.
    pub(crate) summary: String,
    pub(crate) files: Vec<FileRead>,
    pub(crate) lines: Lines,
    /// The first and the last time that was read, as written.
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) requests: u64,
    pub(crate) failed: Failed,
    pub(crate) causes: Vec<CauseRow>,
    pub(crate) timeline: When,
    pub(crate) routes: Vec<PlaceRow>,
    pub(crate) backends: Vec<PlaceRow>,
    pub(crate) burst: Option<Burst>,
    /// What to know when reading this.
    pub(crate) notes: Vec<String>,
}

/// A file, and how far it was read.
#[derive(Debug, Serialize)]
pub(crate) struct FileRead {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) note: Option<String>,
}

/// Lines by what became of them.
#[derive(Debug, Serialize)]
pub(crate) struct Lines {
    pub(crate) total: u64,
    pub(crate) unread: u64,
    pub(crate) outside: u64,
    /// Of which only the beginning was looked at.
    pub(crate) cut: u64,
    pub(crate) formats: Vec<FormatRow>,
}

/// How many lines were in a format.
#[derive(Debug, Serialize)]
pub(crate) struct FormatRow {
    pub(crate) format: &'static str,
    pub(crate) lines: u64,
}

/// Failures by status.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    pub(crate) total: u64,
    #[serde(rename = "502")]
    pub(crate) bad_gateway: u64,
    #[serde(rename = "503")]
    pub(crate) unavailable: u64,
    #[serde(rename = "504")]
    pub(crate) timeout: u64,
}

/// Failures by cause.
#[derive(Debug, Serialize)]
pub(crate) struct CauseRow {
    /// The finding, absent if the lines hold nothing that tells.
    pub(crate) id: Option<&'static str>,
    /// The findings among which the lines do not decide.
    pub(crate) or: &'static [&'static str],
    pub(crate) says: &'static str,
    pub(crate) count: u64,
    pub(crate) ratio: f64,
}

/// Failures over time.
#[derive(Debug, Serialize)]
pub(crate) struct When {
    pub(crate) width_seconds: i64,
    pub(crate) rows: Vec<WhenRow>,
}

/// One bucket with failures in it.
#[derive(Debug, Serialize)]
pub(crate) struct WhenRow {
    pub(crate) at: String,
    #[serde(skip)]
    pub(crate) second: i64,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
}

/// Failures of one route or backend for one cause.
#[derive(Debug, Serialize)]
pub(crate) struct PlaceRow {
    pub(crate) name: String,
    pub(crate) id: Option<&'static str>,
    pub(crate) count: u64,
    /// By how much the count may be too high.
    pub(crate) error: u64,
}

impl Report {
    /// Makes the report of what was counted.
    pub(crate) fn of(tally: &Tally, files: Vec<FileRead>, cut: u64) -> Self {
        // An error log alone is all there is; beside an access log it is about the same requests.
        let alone = tally.requests == 0 && tally.complained.failed > 0;
        let sheet = if alone {
            &tally.complained
        } else {
            &tally.answered
        };
        let causes = causes(sheet);
        let [bad_gateway, unavailable, timeout] = sheet.statuses;
        let mut report = Self {
            schema: "why503-logs/1",
            summary: String::new(),
            files,
            lines: Lines {
                total: tally.lines,
                unread: tally.unread,
                outside: tally.outside,
                cut,
                formats: formats(tally),
            },
            from: tally.first.map(time::written),
            to: tally.last.map(time::written),
            requests: tally.requests,
            failed: Failed {
                total: sheet.failed,
                bad_gateway,
                unavailable,
                timeout,
            },
            causes,
            timeline: when(sheet),
            routes: places(&sheet.routes),
            backends: places(&sheet.backends),
            burst: burst::find(tally, sheet),
            notes: notes(tally, alone),
        };
        report.summary = report.sentence();
        report
    }

    fn sentence(&self) -> String {
        let total = self.failed.total;
        let Some(first) = self.causes.first() else {
            return match self.requests {
                0 if self.lines.total == self.lines.unread => {
                    "no line is in a format that is known".into()
                }
                0 => "no request is in these logs".into(),
                _ => "no request was answered 502, 503 or 504".into(),
            };
        };
        let share = if first.count == total {
            format!("all {}", super::shown::grouped(total))
        } else {
            format!(
                "{} of {}",
                super::shown::grouped(first.count),
                super::shown::grouped(total)
            )
        };
        match first.id {
            None => format!("{share} failed requests left no reason in these logs"),
            Some(id) if first.or.is_empty() => {
                format!("{share} failed requests: {} ({id})", first.says)
            }
            Some(_) => format!(
                "{share} failed requests: {} ({})",
                first.says,
                first.or.join(" or ")
            ),
        }
    }
}

fn formats(tally: &Tally) -> Vec<FormatRow> {
    let rows = Maker::ALL.iter().zip(tally.makers);
    let rows = rows.filter(|it| it.1 > 0).map(|(maker, lines)| FormatRow {
        format: maker.name(),
        lines,
    });
    rows.collect()
}

fn causes(sheet: &Sheet) -> Vec<CauseRow> {
    let mut rows: Vec<_> = sheet
        .causes
        .iter()
        .map(|(why, count)| (*why, *count))
        .collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let row = |(why, count): (Option<Cause>, u64)| CauseRow {
        id: why.map(Cause::id),
        or: why.map_or(&[], Cause::or),
        says: why.map_or("the lines hold nothing that tells", Cause::says),
        count,
        ratio: ratio(count, sheet.failed),
    };
    rows.into_iter().map(row).collect()
}

fn when(sheet: &Sheet) -> When {
    let failing = sheet.timeline.buckets().filter(|it| it.1.failures() > 0);
    When {
        width_seconds: sheet.timeline.width(),
        rows: failing
            .map(|(at, bucket)| WhenRow {
                at: time::written(at),
                second: at,
                // An error log tells of no request that went well.
                requests: bucket.requests.max(bucket.failures()),
                failed: bucket.failures(),
            })
            .collect(),
    }
}

fn places(top: &Top) -> Vec<PlaceRow> {
    let rows = top.sorted().into_iter().take(PLACES_MAX);
    let row = |((name, why), row): ((Box<[u8]>, Option<Cause>), super::top::Row)| PlaceRow {
        name: inert(&name),
        id: why.map(Cause::id),
        count: row.count,
        error: row.error,
    };
    rows.map(row).collect()
}

fn notes(tally: &Tally, alone: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if alone {
        notes.push("an error log alone tells of attempts, not of what the client got; give the access log too".into());
    } else if tally.join.unmatched > 0 {
        notes.push(format!(
            "{} complaints of error logs belong to no failed request that lacked a reason: the access log had it \
             already, another server answered, or the request is not in these files",
            super::shown::grouped(tally.join.unmatched)
        ));
    }
    let open = |why: &Option<Cause>| match why {
        None => true,
        Some(why) => why.is_open(),
    };
    let combined = tally.makers[Maker::Combined as usize] > 0;
    if combined && tally.answered.causes.keys().any(open) {
        notes.push(
            "the combined format has no reason in it: give the error log too, and let nginx log $upstream_addr, \
             $upstream_status and $upstream_connect_time"
                .into(),
        );
    }
    let undecided = tally.makers[Maker::HaProxy as usize] > 0
        && tally
            .answered
            .causes
            .contains_key(&Some(Cause::HapNoServer));
    if undecided {
        notes.push(
            "HAProxy writes one code for *all down*, *in maintenance* and *no server*; its lines about servers, or \
             `show stat` on its socket, tell which"
                .into(),
        );
    }
    if tally.changes_left_out > 0 {
        notes.push(format!(
            "{} changes of state found no room",
            tally.changes_left_out
        ));
    }
    notes
}

/// What a person or a script would look at.
const PLACES_MAX: usize = 50;
