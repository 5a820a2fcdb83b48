//! Which cores a process may run on.

use std::{fmt, io};

use rustix::thread::{CpuSet, sched_setaffinity};

/// Cores by number; none means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cores(Vec<usize>);

impl Cores {
    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn parse(text: &str) -> io::Result<Self> {
        let numbers = text.split(',').filter(|it| *it != "all");
        let numbers: Result<_, _> = numbers.map(str::parse).collect();
        numbers.map(Self).map_err(io::Error::other)
    }

    /// Keeps this thread, and those that it makes from now on, to these cores.
    pub(super) fn keep_to(&self) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut set = CpuSet::new();
        self.0.iter().for_each(|core| set.set(*core));
        Ok(sched_setaffinity(None, &set)?)
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("all");
        }
        let numbers: Vec<_> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

/// Returns the cores of a server with so many workers, and those of its load. Where there are
/// not enough for both, nobody is kept to any.
pub(super) fn split(workers: usize) -> (Cores, Cores) {
    split_of(crate::overload::cores(), workers)
}

fn split_of(cores: usize, workers: usize) -> (Cores, Cores) {
    if cores <= workers {
        return (Cores::default(), Cores::default());
    }
    (
        Cores((0..workers).collect()),
        Cores((workers..cores).collect()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_and_load_have_cores_of_their_own_where_there_are_enough() {
        for (cores, workers, expected) in [
            (2, 1, ("0", "1")),
            (2, 2, ("all", "all")),
            (4, 2, ("0,1", "2,3")),
            (1, 1, ("all", "all")),
        ] {
            let (theirs, ours) = split_of(cores, workers);
            assert_eq!((&*theirs.to_string(), &*ours.to_string()), expected);
            assert_eq!(Cores::parse(&theirs.to_string()).expect("read"), theirs);
        }
    }
}
