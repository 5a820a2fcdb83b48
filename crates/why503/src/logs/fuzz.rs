//! Every parser against lines that are mutated from recorded ones.
//!
//! `cargo xtask fuzz` runs this with 10 million inputs each; the suite runs a few thousand. The
//! same number and seed give the same inputs, and a failure prints the one that made it.

use std::{
    io::{Cursor, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use clap::ValueEnum;
use flate2::{Compression, write::GzEncoder};

use super::{
    format::{self, Format},
    input::{self, Lines, Unpacking},
    route, shown,
    tally::{Scope, Tally},
    time,
};

/// How many inputs each parser gets when nobody says.
const INPUTS: u64 = 3_000;

fn inputs() -> u64 {
    let asked = std::env::var("WHY503_FUZZ_INPUTS").ok();
    asked.map_or(INPUTS, |it| {
        it.parse().expect("WHY503_FUZZ_INPUTS is a number")
    })
}

/// Small and good enough: splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((it ^ (it >> 31)) % sides.max(1) as u64).expect("below `sides`")
    }
}

/// Every recorded line, and beginnings that no proxy writes.
fn corpus() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs");
    let mut lines = Vec::new();
    for file in std::fs::read_dir(dir).expect("it is in the repository") {
        let text = std::fs::read(file.expect("a file").path()).expect("a file");
        let each = text
            .split(|it| *it == b'\n')
            .filter_map(|it| it.splitn(2, |it| *it == b'\t').nth(1));
        lines.extend(each.map(<[u8]>::to_vec));
    }
    lines.sort();
    lines.extend(
        [
            &b"{"[..],
            b"[",
            b"<134>1 ",
            b"\"",
            b"{\"a\":[[[[[[[[[[",
            b"[2026-",
            b"\\",
        ]
        .map(<[u8]>::to_vec),
    );
    lines
}

const PIECES: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"\\\"",
    b"[",
    b"]",
    b"{",
    b"}",
    b":",
    b",",
    b" ",
    b"  ",
    b"/",
    b"-",
    b"-1",
    b"*",
    b" : ",
    b", ",
    b"\x1b[31m",
    b"\xff",
    b"\x00",
    "\u{202e}".as_bytes(),
    b"999999999",
    b"99999999999999999999",
    b"503",
    b"1e308",
    b"NaN",
    b"<NOSRV>",
    b"SC--",
    b"29/Nov/2026:08:35:47",
    b"2026-11-29T08:35:47Z",
    b"\r",
    b"\t",
    b"null",
    b"us=",
    b"| ",
];

fn mutate(line: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.roll(line.len() + 1);
    let to = (at + dice.roll(24)).min(line.len());
    match dice.roll(8) {
        0 if at < line.len() => line[at] ^= 1 << dice.roll(8),
        1 => drop(line.drain(at..to)),
        2 => drop(line.splice(at..at, PIECES[dice.roll(PIECES.len())].iter().copied())),
        3 => drop(line.splice(at..to, PIECES[dice.roll(PIECES.len())].iter().copied())),
        4 => line.truncate(at),
        5 => {
            let copy = line[at..to].repeat(dice.roll(6));
            line.splice(at..at, copy);
        }
        6 => {
            let from = dice.roll(other.len() + 1);
            line.truncate(at);
            line.extend_from_slice(&other[from..]);
        }
        _ if at < line.len() => line[at] = PIECES[dice.roll(PIECES.len())][0],
        _ => {}
    }
}

/// Runs a parser; the seed is its name.
fn fuzz(name: &str, mut parser: impl FnMut(&[u8])) {
    let corpus = corpus();
    let mut dice = Dice(name.bytes().fold(0, |sum, it| sum * 31 + u64::from(it)));
    for number in 0..inputs() {
        let mut line = corpus[dice.roll(corpus.len())].clone();
        for _ in 0..=dice.roll(5) {
            let other = dice.roll(corpus.len());
            mutate(&mut line, &corpus[other], &mut dice);
        }
        let run = catch_unwind(AssertUnwindSafe(|| parser(&line)));
        assert!(
            run.is_ok(),
            "{name}: input {number} was {:?}",
            line.escape_ascii().to_string()
        );
    }
}

fn inert(bytes: &[u8]) {
    let text = shown::inert(bytes);
    assert!(
        !text.chars().any(|it| it.is_control() || it == '\u{202e}'),
        "{text:?}"
    );
    assert!(shown::fit(&text, 40).chars().count() <= 40);
}

fn of_format(format: Format) {
    let mut route = Vec::new();
    let name = format
        .to_possible_value()
        .expect("no format is hidden")
        .get_name()
        .to_owned();
    fuzz(&name, |line| {
        let entry = format::parse(line, format);
        if let Some(super::entry::Kind::Request(request)) = entry.map(|it| it.kind) {
            route::of(request.method, request.target, &mut route);
            assert!(route.len() <= 1 << 10, "{}", route.len());
            inert(&route);
            inert(request.backend);
        }
    });
}

#[test]
fn fuzz_haproxy() {
    of_format(Format::Haproxy);
}

#[test]
fn fuzz_combined() {
    of_format(Format::Combined);
}

#[test]
fn fuzz_nginx_error() {
    of_format(Format::NginxError);
}

#[test]
fn fuzz_apache_error() {
    of_format(Format::ApacheError);
}

#[test]
fn fuzz_envoy() {
    of_format(Format::Envoy);
}

#[test]
fn fuzz_alb() {
    of_format(Format::Alb);
}

#[test]
fn fuzz_json() {
    of_format(Format::Json);
}

#[test]
fn fuzz_auto() {
    of_format(Format::Auto);
}

#[test]
fn fuzz_time() {
    fuzz("time", |line| {
        for at in 0..line.len().min(40) {
            let found = [time::any(&line[at..]), time::apache(&line[at..])];
            found
                .into_iter()
                .flatten()
                .for_each(|it| inert(time::written(it).as_bytes()));
        }
    });
}

/// The counts of many lines, merged, with all that is kept between them.
#[test]
fn fuzz_tally() {
    let mut chunk = Vec::new();
    let mut sum = Tally::default();
    fuzz("tally", |line| {
        chunk.extend_from_slice(line);
        chunk.push(b'\n');
        if chunk.len() > 1 << 16 {
            sum.merge(Tally::of(&chunk, Scope::default()));
            chunk.clear();
        }
    });
    sum.merge(Tally::of(&chunk, Scope::default()));
    sum.finish();
    let told: u64 = sum.answered.causes.values().sum();
    assert_eq!(told, sum.answered.failed);
    assert_eq!(told, sum.answered.statuses.iter().sum::<u64>());
    let of_time: u64 = sum
        .answered
        .timeline
        .buckets()
        .map(|it| it.1.failures())
        .sum();
    assert_eq!(told, of_time);
    let report = super::report::Report::of(&sum, Vec::new(), 0);
    let mut page = Vec::new();
    super::text::print(&report, 80, &mut page).expect("memory can be written");
    let plain = String::from_utf8(page).expect("text");
    let plain = plain.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
    assert!(!plain.chars().any(|it| it.is_control() && it != '\n'));
    assert!(plain.lines().all(|it| it.chars().count() <= 80));
}

/// gzip streams that are torn, flipped and glued.
#[test]
fn fuzz_gzip() {
    let text = corpus().concat();
    let mut dice = Dice(7);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(&text[..text.len().min(512)])
        .expect("memory can be written");
    let packed = encoder.finish().expect("memory can be written");
    let mut chunk = Vec::new();
    for number in 0..inputs() {
        let mut stream = packed.clone();
        for _ in 0..=dice.roll(4) {
            mutate(&mut stream, &packed, &mut dice);
        }
        let copy = stream.clone();
        let read = catch_unwind(AssertUnwindSafe(|| {
            let Ok(lines) = Lines::new(Box::new(Cursor::new(copy))) else {
                return;
            };
            let mut lines = lines.small();
            while lines.fill(&mut chunk, Unpacking::new(Some(1 << 24))) {
                assert!(input::lines(&chunk).all(|it| it.len() <= input::LINE_MAX));
            }
        }));
        assert!(
            read.is_ok(),
            "gzip: input {number} was {}",
            stream.escape_ascii()
        );
    }
}
