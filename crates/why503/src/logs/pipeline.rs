//! One thread reads, two count, and what they counted is merged in the order of the files.
//!
//! A chunk's buffer goes round: it is filled again only after what it held was merged, so that no
//! more than a handful are ever in memory.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use super::{
    input::{Lines, Unpacking},
    report::FileRead,
    shown::inert,
    tally::{Scope, Tally},
};

/// What came of the files.
pub(crate) struct Read {
    pub(crate) tally: Tally,
    pub(crate) files: Vec<FileRead>,
    /// Lines of which only the beginning was looked at.
    pub(crate) cut: u64,
}

/// Reads and counts everything.
pub(crate) fn read(paths: &[PathBuf], scope: Scope, unpacking: Unpacking) -> Read {
    let (free, freed) = channel();
    let (work, todo) = channel();
    let (done, counted) = channel();
    for _ in 0..CHUNKS {
        free.send(Vec::new()).expect("the receiver is held here");
    }
    let todo = Mutex::new(todo);
    thread::scope(|scope_| {
        let reader = scope_.spawn(move || feed(paths, unpacking, &freed, &work));
        for _ in 0..COUNTERS {
            let (todo, done) = (&todo, done.clone());
            scope_.spawn(move || count(todo, &done, scope));
        }
        drop(done);
        let mut tally = merge(&counted, &free);
        let (files, cut) = reader.join().expect("reading does not panic");
        tally.finish();
        Read { tally, files, cut }
    })
}

type Work = (u64, Vec<u8>);

fn feed(
    paths: &[PathBuf],
    unpacking: Unpacking,
    freed: &Receiver<Vec<u8>>,
    work: &Sender<Work>,
) -> (Vec<FileRead>, u64) {
    let mut files = Vec::new();
    let (mut number, mut cut) = (0, 0);
    for path in paths {
        let name = inert(path.as_os_str().as_encoded_bytes());
        let mut lines = match Lines::open(path) {
            Ok(lines) => lines,
            Err(error) => {
                files.push(FileRead {
                    name,
                    bytes: 0,
                    note: Some(error.to_string()),
                });
                continue;
            }
        };
        while let Ok(mut chunk) = freed.recv() {
            if !lines.fill(&mut chunk, unpacking) {
                // It goes back to where the next file takes it from.
                if work.send((number, Vec::new())).is_err() {
                    break;
                }
                number += 1;
                break;
            }
            if work.send((number, chunk)).is_err() {
                break;
            }
            number += 1;
        }
        cut += lines.cut;
        files.push(FileRead {
            name,
            bytes: lines.bytes,
            note: lines.note.take(),
        });
    }
    (files, cut)
}

fn count(todo: &Mutex<Receiver<Work>>, done: &Sender<(u64, Tally, Vec<u8>)>, scope: Scope) {
    loop {
        // The lock is held while waiting: whoever has it is the next to get work.
        let next = todo.lock().map(|todo| todo.recv());
        let Ok(Ok((number, chunk))) = next else {
            return;
        };
        let tally = Tally::of(&chunk, scope);
        if done.send((number, tally, chunk)).is_err() {
            return;
        }
    }
}

fn merge(counted: &Receiver<(u64, Tally, Vec<u8>)>, free: &Sender<Vec<u8>>) -> Tally {
    let mut sum = Tally::default();
    let mut early = BTreeMap::new();
    let mut next = 0;
    while let Ok((number, tally, chunk)) = counted.recv() {
        early.insert(number, (tally, chunk));
        while let Some((tally, chunk)) = early.remove(&next) {
            sum.merge(tally);
            next += 1;
            // The reader may have ended.
            let _ = free.send(chunk);
        }
    }
    sum
}

/// Two cores count; reading and merging take little beside it.
const COUNTERS: usize = 2;
/// One that is filled, two that are counted, and those that wait for their turn.
const CHUNKS: usize = 6;
