//! An Application Load Balancer: its own status beside the target's tells who answered.

use crate::logs::{
    bytes::{decimal, quoted, request_line, status, without_port, word},
    cause::Cause,
    entry::{Entry, Kind, Maker, Request, failed},
    time,
};

/// `type time elb client:port target:port request_s target_s response_s elb_status target_status
/// received sent "request" …`.
pub(crate) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let (kind, rest) = word(line);
    KINDS.contains(&kind).then_some(())?;
    let (at, rest) = word(rest);
    let at = time::iso(at)?;
    let (_balancer, rest) = word(rest);
    let (client, rest) = word(rest);
    let (target, mut rest) = word(rest);
    let mut times = [None; 3];
    for time in &mut times {
        let (field, after) = word(rest);
        *time = decimal(field);
        rest = after;
    }
    let (own, rest) = word(rest);
    let (theirs, rest) = word(rest);
    let (_received, rest) = word(rest);
    let (_sent, rest) = word(rest);
    let (asked, _) = quoted(rest)?;
    let (method, url) = request_line(asked);
    let own = status(own)?;
    let cause = match (own, theirs) {
        (503, b"-") if target == b"-" => Cause::AlbNoTargets,
        (_, b"-") => Cause::AlbTarget,
        _ => Cause::Passthrough,
    };
    Some(Entry {
        maker: Maker::Alb,
        time: Some(at),
        kind: Kind::Request(Request {
            status: own,
            method,
            target: url,
            backend: if target == b"-" { &[] } else { target },
            client: without_port(client),
            millis: times
                .into_iter()
                .try_fold(0.0, |sum, it| it.map(|it| sum + it * 1e3)),
            cause: failed(own).then_some(cause),
        }),
    })
}

const KINDS: &[&[u8]] = &[b"http", b"https", b"h2", b"grpcs", b"ws", b"wss"];
