//! Whether anything came behind a request in what was read: the beginning of the next one.
//!
//! hyper keeps what it has read and says nothing of it, so a peer that sends half a head in
//! the segment of its previous request would be idle for us, and have that much time for the
//! rest. The last bytes that were read tell it: they are the end of the request, or they are
//! not.

/// How many of the last bytes are compared. Where as many happen to be the same, half a head
/// is held to the bound of an idle connection instead of its own.
const TAIL: usize = 8;

/// What was read of an HTTP/1 connection.
#[derive(Debug, Default)]
pub(super) struct Reads {
    tail: Tail,
    end: End,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    bytes: [u8; TAIL],
    len: usize,
}

/// How the request that is under way ends.
#[derive(Debug, Default)]
enum End {
    /// Not known: its body has not been read to the end.
    #[default]
    Unknown,
    /// With an empty line: a head, or chunks with their trailers.
    EmptyLine,
    /// With these bytes of its body.
    Bytes(Tail),
}

impl Reads {
    /// These bytes were read.
    pub(super) fn note(&mut self, bytes: &[u8]) {
        self.tail.push(bytes);
    }

    /// A request begins, with a body or without.
    pub(super) fn begins(&mut self, body: bool) {
        self.end = if body { End::Unknown } else { End::EmptyLine };
    }

    /// Its body is over: with these bytes, if its length was known.
    pub(super) fn body_ends(&mut self, last: Option<&[u8]>) {
        self.end = last.map_or(End::EmptyLine, |bytes| {
            let mut tail = Tail::default();
            tail.push(bytes);
            End::Bytes(tail)
        });
    }

    /// Whether something was read behind it that is not an empty line.
    pub(super) fn has_more(&self) -> bool {
        let read = self.tail.as_slice();
        match &self.end {
            End::Unknown => false,
            End::EmptyLine => !(read.ends_with(b"\n\r\n") || read.ends_with(b"\n\n")),
            End::Bytes(last) => ![&b""[..], b"\r\n", b"\n"].iter().any(|line| {
                read.strip_suffix(*line)
                    .is_some_and(|read| same_end(read, last.as_slice()))
            }),
        }
    }
}

/// Whether two ends are the same, as far as both are known.
fn same_end(one: &[u8], other: &[u8]) -> bool {
    let len = one.len().min(other.len());
    one[one.len() - len..] == other[other.len() - len..]
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let new = bytes.len().min(TAIL);
        let kept = self.len.min(TAIL - new);
        self.bytes.copy_within(self.len - kept..self.len, 0);
        self.bytes[kept..kept + new].copy_from_slice(&bytes[bytes.len() - new..]);
        self.len = kept + new;
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was read in pieces; how the body ended, if there was one; whether there is more.
    fn check(read: &[&str], body: Option<Option<&str>>, expected: bool) {
        let mut reads = Reads::default();
        read.iter().for_each(|it| reads.note(it.as_bytes()));
        reads.begins(body.is_some());
        if let Some(last) = body {
            reads.body_ends(last.map(str::as_bytes));
        }
        assert_eq!(reads.has_more(), expected, "{read:?} {body:?}");
    }

    #[test]
    fn half_a_head_behind_a_request_is_seen_and_an_empty_line_is_not() {
        let get = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
        check(&[get], None, false);
        check(&[&get[..get.len() - 1], "\n"], None, false);
        check(&[get, "\r\n"], None, false);
        check(&[get, "G"], None, true);
        check(&[get, "GET / HTTP/1.1\r\nhost:"], None, true);
        let post = "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello";
        check(&[post], Some(Some("hello")), false);
        check(&[post, "\r\n"], Some(Some("hello")), false);
        check(&[post], Some(Some("o")), false);
        check(&[post, "GET /"], Some(Some("hello")), true);
        let chunked = "POST / HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        check(&[chunked], Some(None), false);
        check(&[chunked, "POST"], Some(None), true);
    }

    #[test]
    fn what_was_not_read_to_the_end_says_nothing() {
        let mut reads = Reads::default();
        reads.note(b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhal");
        reads.begins(true);
        assert!(!reads.has_more());
    }
}
