//! What can be typed after `bench soak`.

use std::time::Duration;

const USAGE: &str = "usage: bench soak [--quick] [--json]";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) quick: bool,
    pub(super) json: bool,
}

/// What one generation serves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) connections: u64,
    pub(super) requests_each: u64,
    /// Peers that mean harm, beside them.
    pub(super) hostile: usize,
}

impl Options {
    /// Reads the arguments; the error says which makes no sense and what does.
    pub(super) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        for argument in arguments {
            match *argument {
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                other => return Err(format!("unknown option `{other}`\n{USAGE}")),
            }
        }
        Ok(options)
    }

    pub(super) const fn generations(self) -> u32 {
        if self.quick { 4 } else { 10 }
    }

    pub(super) const fn share(self) -> Share {
        match self.quick {
            true => Share {
                connections: 100,
                requests_each: 5,
                hostile: 40,
            },
            false => Share {
                connections: 5_000,
                // One in eight speaks HTTP/2 and asks once.
                requests_each: 23,
                hostile: 1_000,
            },
        }
    }

    /// How many peers of a kind come.
    pub(super) const fn hostile(self) -> usize {
        if self.quick { 100 } else { 20_000 }
    }

    /// How long they stay once all are there.
    pub(super) const fn stay(self) -> Duration {
        Duration::from_millis(if self.quick { 100 } else { 1_000 })
    }

    /// Requests of others before they come, to know what is usual.
    pub(super) const fn usual(self) -> usize {
        if self.quick { 20 } else { 500 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named() {
        let fault = Options::parse(&["--quik"]).expect_err("it makes no sense");
        assert!(fault.contains("`--quik`"), "{fault}");
        assert!(Options::parse(&["--quick", "--json"]).is_ok_and(|it| it.quick && it.json));
    }
}
