//! What a reader of logs counted: it attributes lines to findings by the proxies' own codes.

use std::time::Duration;

use super::area;
use crate::{
    Id,
    text::{Ratio, Text},
};

area! {
    /// What a reader of logs counted.
    Log {
        /// So many lines, of all that are 502, 503 or 504, belong to this finding by the code
        /// that the proxy itself wrote.
        Attributed { id: Id, count: u64, of: u64, example: Text } = "log lines", "{count} of {of}: {example}";
        /// Errors fall into few minutes: the share of errors in the share of time.
        Windowed { errors: Ratio, time: Ratio, at: Text } = "errors over time", "{errors} of errors in {time} of the time ({at})";
        /// The first refusals came so long after a start or stop of the process.
        AfterStart { refused: u64, within: Duration } = "refusals after a start", "{refused} within {}", crate::Lasting(*within);
        /// One route has this share of the errors.
        Route { route: Text, ratio: Ratio } = "route", "{route}: {ratio} of the errors";
        /// Requests a second grew from one number to another at the start of the trouble.
        Rate { before: f64, now: f64 } = "requests a second", "{before:.1} before, {now:.1} now";
        /// Requests that repeat an earlier one that failed, sooner than it was told.
        Retries { repeated: u64, of: u64 } = "repeated at once", "{repeated} of {of}";
    }
}
