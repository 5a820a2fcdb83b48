//! Apache's error log: why its proxy gave up. Its access log is the combined format.

use crate::logs::{
    bytes::{between, contains, cut, find, without_port, word},
    cause::Cause,
    entry::{Change, Complaint, Entry, Kind, Maker},
    time,
};

/// `[Sun Nov 29 08:36:47.281825 2026] [module:level] [pid 1:tid 2] … [client a:1] AH01114: sentence`.
pub(crate) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let (date, rest) = cut(line.strip_prefix(b"[")?, b']')?;
    let at = time::apache(date)?;
    let code = find(rest, b" AH").and_then(|at| rest.get(at + 1..at + 8));
    let entry = |kind| {
        Some(Entry {
            maker: Maker::Apache,
            time: Some(at),
            kind,
        })
    };
    let said = between(rest, b"] AH", b"\n").unwrap_or(rest);
    let cause = match code.unwrap_or_default() {
        // AH00957 says why, AH01114 says for whom; the first has no client.
        b"AH01114" => Cause::ApacheWorker,
        b"AH01102" if contains(rest, b"(70007)") => Cause::UpstreamSlow,
        b"AH01102" => Cause::UpstreamDown,
        // The one before, once more, with the path.
        b"AH00898" if contains(rest, b"reading from remote server") => Cause::UpstreamDown,
        b"AH01106" | b"AH01097" => Cause::NotHttp,
        b"AH00898" if contains(rest, b"DNS lookup failure") => Cause::Dns,
        b"AH00959" | b"AH00489" | b"AH00491" | b"AH00492" | b"AH00493" | b"AH00161"
        | b"AH00484" => {
            return entry(Kind::Change(Change {
                text: code_and_rest(said),
                backend: None,
            }));
        }
        _ => return entry(Kind::Other),
    };
    let client = between(rest, b"[client ", b"]").map(without_port);
    let Some(client) = client else {
        return entry(Kind::Other);
    };
    entry(Kind::Complaint(Complaint {
        cause,
        // Often nothing of the request is written: second and client tell which it was.
        method: &[],
        target: path(rest).unwrap_or_default(),
        client,
        backend: backend(rest).unwrap_or_default(),
        thread: between(rest, b"[client ", b"]").unwrap_or_default(),
        again: code == Some(b"AH00898"),
    }))
}

fn code_and_rest(said: &[u8]) -> &[u8] {
    find(said, b"AH0").map_or(said, |at| &said[at..])
}

/// `… returned by /path` and perhaps ` (GET)`.
fn path(rest: &[u8]) -> Option<&[u8]> {
    let at = find(rest, b" returned by /")? + b" returned by ".len();
    Some(word(&rest[at..]).0)
}

fn backend(rest: &[u8]) -> Option<&[u8]> {
    let marks = [&b"connection to backend: "[..], b"remote server "];
    let at = marks
        .iter()
        .find_map(|it| find(rest, it).map(|at| at + it.len()))?;
    let end = rest[at..].iter().position(|it| matches!(it, b' ' | b','));
    Some(&rest[at..end.map_or(rest.len(), |end| at + end)])
}
