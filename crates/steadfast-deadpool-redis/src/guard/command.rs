//! What kind of command it is: whether it writes, and whether it waits in the server.

use deadpool_redis::redis::{Arg, Cmd, Pipeline};

/// What is to be known of a command, or of several, before they are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// It writes, whatever it needs for that.
    pub(super) writes: bool,
    /// It is refused where there is no memory left.
    pub(super) grows: bool,
    /// It waits in the server on purpose.
    pub(super) waits: bool,
}

impl Traits {
    pub(super) fn of(command: &Cmd) -> Self {
        let mut args = command.args_iter();
        let Some(Arg::Simple(name)) = args.next() else {
            return Self::default();
        };
        let mut upper = [0; NAME_LEN_MAX];
        let Some(upper) = upper.get_mut(..name.len()) else {
            return Self::default();
        };
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        let upper = &*upper;
        let grows = grows(upper);
        let mut is_block = || {
            args.any(|arg| matches!(arg, Arg::Simple(word) if word.eq_ignore_ascii_case(b"BLOCK")))
        };
        Self {
            writes: grows || frees(upper),
            grows,
            waits: waits(upper) || matches!(upper, b"XREAD" | b"XREADGROUP") && is_block(),
        }
    }

    pub(super) fn of_all(commands: &Pipeline) -> Self {
        commands
            .cmd_iter()
            .map(Self::of)
            .fold(Self::default(), |all, next| Self {
                writes: all.writes || next.writes,
                grows: all.grows || next.grows,
                waits: all.waits || next.waits,
            })
    }
}

/// Longer than the longest name below.
const NAME_LEN_MAX: usize = 24;

/// Commands that write and may need memory (flags `write` and `denyoom` of `COMMAND INFO`
/// of Redis 8). One of a module, a script and a `SORT` that stores are not known to write.
fn grows(name: &[u8]) -> bool {
    matches!(
        name,
        b"APPEND"
            | b"BITFIELD"
            | b"BITOP"
            | b"BLMOVE"
            | b"BRPOPLPUSH"
            | b"COPY"
            | b"DECR"
            | b"DECRBY"
            | b"GEOADD"
            | b"GEOSEARCHSTORE"
            | b"GETSET"
            | b"HINCRBY"
            | b"HINCRBYFLOAT"
            | b"HMSET"
            | b"HSET"
            | b"HSETEX"
            | b"HSETNX"
            | b"INCR"
            | b"INCRBY"
            | b"INCRBYFLOAT"
            | b"LINSERT"
            | b"LMOVE"
            | b"LPUSH"
            | b"LPUSHX"
            | b"LSET"
            | b"MSET"
            | b"MSETEX"
            | b"MSETNX"
            | b"PFADD"
            | b"PFMERGE"
            | b"PSETEX"
            | b"RESTORE"
            | b"RPOPLPUSH"
            | b"RPUSH"
            | b"RPUSHX"
            | b"SADD"
            | b"SDIFFSTORE"
            | b"SET"
            | b"SETBIT"
            | b"SETEX"
            | b"SETNX"
            | b"SETRANGE"
            | b"SINTERSTORE"
            | b"SUNIONSTORE"
            | b"XADD"
            | b"XSETID"
            | b"ZADD"
            | b"ZDIFFSTORE"
            | b"ZINCRBY"
            | b"ZINTERSTORE"
            | b"ZRANGESTORE"
            | b"ZUNIONSTORE"
    )
}

/// Commands that write and need no memory, so that a full server takes them.
fn frees(name: &[u8]) -> bool {
    matches!(
        name,
        b"BLMPOP"
            | b"BLPOP"
            | b"BRPOP"
            | b"BZMPOP"
            | b"BZPOPMAX"
            | b"BZPOPMIN"
            | b"DEL"
            | b"EXPIRE"
            | b"EXPIREAT"
            | b"FLUSHALL"
            | b"FLUSHDB"
            | b"GETDEL"
            | b"GETEX"
            | b"HDEL"
            | b"HEXPIRE"
            | b"HEXPIREAT"
            | b"HGETDEL"
            | b"HGETEX"
            | b"HPERSIST"
            | b"HPEXPIRE"
            | b"HPEXPIREAT"
            | b"LMPOP"
            | b"LPOP"
            | b"LREM"
            | b"LTRIM"
            | b"MOVE"
            | b"PERSIST"
            | b"PEXPIRE"
            | b"PEXPIREAT"
            | b"RENAME"
            | b"RENAMENX"
            | b"RPOP"
            | b"SMOVE"
            | b"SPOP"
            | b"SREM"
            | b"UNLINK"
            | b"XACK"
            | b"XACKDEL"
            | b"XAUTOCLAIM"
            | b"XCLAIM"
            | b"XDEL"
            | b"XDELEX"
            | b"XREADGROUP"
            | b"XTRIM"
            | b"ZMPOP"
            | b"ZPOPMAX"
            | b"ZPOPMIN"
            | b"ZREM"
            | b"ZREMRANGEBYLEX"
            | b"ZREMRANGEBYRANK"
            | b"ZREMRANGEBYSCORE"
    )
}

/// Commands that wait in the server until there is something, or until their own time is
/// over.
fn waits(name: &[u8]) -> bool {
    matches!(
        name,
        b"BLMOVE"
            | b"BLMPOP"
            | b"BLPOP"
            | b"BRPOP"
            | b"BRPOPLPUSH"
            | b"BZMPOP"
            | b"BZPOPMAX"
            | b"BZPOPMIN"
            | b"WAIT"
            | b"WAITAOF"
    )
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::{cmd, pipe};

    use super::*;

    fn check(words: &[&str], expected: [bool; 3]) {
        let mut command = cmd(words[0]);
        let found = Traits::of(command.arg(&words[1..]));
        assert_eq!(
            [found.writes, found.grows, found.waits],
            expected,
            "{words:?}"
        );
    }

    #[test]
    fn a_command_is_known_by_its_name_in_any_case() {
        check(&["GET", "k"], [false; 3]);
        check(&["set", "k", "v"], [true, true, false]);
        check(&["Del", "k"], [true, false, false]);
        check(&["BLPOP", "k", "0"], [true, false, true]);
        check(&["XREAD", "STREAMS", "s", "0"], [false; 3]);
        check(
            &["XREAD", "block", "0", "STREAMS", "s", "$"],
            [false, false, true],
        );
        check(&["WAIT", "1", "0"], [false, false, true]);
        check(&["EVAL", "return 1", "0"], [false; 3]);
        check(&["A.NAME.LONGER.THAN.ANY.OF.OURS"], [false; 3]);
        let mut both = pipe();
        let both = Traits::of_all(both.get("k").set("k", "v"));
        assert_eq!(
            both,
            Traits {
                writes: true,
                grows: true,
                waits: false
            }
        );
        assert_eq!(Traits::of_all(&pipe()), Traits::default());
    }
}
