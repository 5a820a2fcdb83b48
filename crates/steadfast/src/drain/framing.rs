//! Where an answer without an end may be ended: between two of the things it is made of.
//!
//! A body that has nothing to say for a moment may be in the middle of an event, because
//! whoever makes it (a proxy of another stream, a compressor, a writer with a small buffer)
//! hands it over in parts. What its content type says it is made of tells where one thing
//! ends: server-sent events at a blank line, lines at their end, gRPC messages at the length
//! that each begins with, parts of `multipart/x-mixed-replace` at the next delimiter. Of
//! anything else, and of what is compressed, nothing is known.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use memchr::{memchr2, memmem, memrchr};

/// Longest delimiter of a multipart body (RFC 2046, 5.1.1).
const DELIMITER_LEN_MAX: usize = 70;

/// What an answer is made of.
#[derive(Debug)]
pub(super) enum Framing {
    Events(Events),
    Lines(Lines),
    Messages(Messages),
    Parts(Parts),
    /// It has no end that is known before it comes.
    Unknown,
}

impl Framing {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let encoded = headers.get(header::CONTENT_ENCODING);
        if encoded.is_some_and(|encoding| encoding != "identity") {
            return Self::Unknown;
        }
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let (essence, parameters) = kind.split_once(';').unwrap_or((kind, ""));
        let essence = essence.trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/event-stream" => Self::Events(Events::default()),
            "application/grpc" => Self::Messages(Messages::default()),
            "multipart/x-mixed-replace" => Parts::of(parameters).map_or(Self::Unknown, Self::Parts),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/json-seq" => Self::Lines(Lines::default()),
            text if text.starts_with("text/") => Self::Lines(Lines::default()),
            grpc if grpc.starts_with("application/grpc+") => Self::Messages(Messages::default()),
            _ => Self::Unknown,
        }
    }

    /// Whether what has been handed over so far ends with the end of something.
    pub(super) const fn is_between(&self) -> bool {
        match self {
            Self::Events(events) => events.is_between(),
            Self::Lines(lines) => !lines.inside,
            Self::Messages(messages) => messages.is_between(),
            Self::Parts(_) | Self::Unknown => false,
        }
    }

    /// Follows what is handed over. Returns where in it the last thing ends, if any does.
    pub(super) fn follow(&mut self, data: &[u8]) -> Option<usize> {
        match self {
            Self::Events(events) => events.follow(data),
            Self::Lines(lines) => lines.follow(data),
            Self::Messages(messages) => messages.follow(data),
            Self::Parts(parts) => parts.follow(data),
            Self::Unknown => None,
        }
    }

    /// Returns the beginning of `data` up to `end`, with what closes the whole, if this kind
    /// is closed by something.
    pub(super) fn closed(&self, data: &Bytes, end: usize) -> Bytes {
        let Self::Parts(parts) = self else {
            return data.slice(..end);
        };
        let mut last = BytesMut::with_capacity(end + parts.delimiter.len() + 4);
        last.extend_from_slice(&data[..end]);
        last.extend_from_slice(&parts.delimiter[1..]);
        last.extend_from_slice(b"--\r\n");
        last.freeze()
    }

    /// The trailers without which the client would take the end for a broken answer.
    pub(super) fn trailers(&self) -> Option<HeaderMap> {
        let Self::Messages(_) = self else {
            return None;
        };
        let mut trailers = HeaderMap::new();
        // UNAVAILABLE: the call may be made again, elsewhere.
        trailers.insert("grpc-status", HeaderValue::from_static("14"));
        let message = HeaderValue::from_static("the server leaves");
        trailers.insert("grpc-message", message);
        Some(trailers)
    }
}

/// Server-sent events (HTML, 9.2.6): lines end with LF, CR LF or CR, an event with a blank
/// line. A line that begins with a colon is a comment and belongs to no event.
#[derive(Debug)]
pub(super) struct Events {
    line_is_empty: bool,
    line_is_comment: bool,
    /// Whether a line of an event has come since the last blank one.
    event_begun: bool,
    /// Whether the last byte was a CR, to which an LF that follows belongs.
    after_cr: bool,
    /// Whether this stream ends its lines with CR LF.
    crlf: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            line_is_empty: true,
            line_is_comment: false,
            event_begun: false,
            after_cr: false,
            crlf: false,
        }
    }
}

impl Events {
    /// A CR ends a line by itself, but where lines end with CR LF its LF is waited for: a
    /// client that looks for the four bytes would lose the event.
    const fn is_between(&self) -> bool {
        self.line_is_empty && !self.event_begun && !(self.after_cr && self.crlf)
    }

    fn follow(&mut self, data: &[u8]) -> Option<usize> {
        let (mut last, mut at) = (None, 0);
        while let Some(&byte) = data.get(at) {
            if std::mem::take(&mut self.after_cr) {
                if byte == b'\n' {
                    self.crlf = true;
                    at += 1;
                }
                if self.is_between() {
                    last = Some(at);
                }
                if byte == b'\n' {
                    continue;
                }
            }
            if matches!(byte, b'\n' | b'\r') {
                at += 1;
                self.line_ends();
                self.after_cr = byte == b'\r';
                if self.is_between() {
                    last = Some(at);
                }
                continue;
            }
            if self.line_is_empty {
                self.line_is_empty = false;
                self.line_is_comment = byte == b':';
            }
            let rest = &data[at..];
            at += memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        }
        last
    }

    const fn line_ends(&mut self) {
        if self.line_is_empty {
            self.event_begun = false;
        } else if !self.line_is_comment {
            self.event_begun = true;
        }
        self.line_is_empty = true;
    }
}

/// Text, or one JSON value on each line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    inside: bool,
}

impl Lines {
    fn follow(&mut self, data: &[u8]) -> Option<usize> {
        let end = memrchr(b'\n', data).map(|at| at + 1);
        if !data.is_empty() {
            self.inside = end != Some(data.len());
        }
        end
    }
}

/// Messages of gRPC: a byte that says whether it is compressed, four with its length, and
/// the message.
#[derive(Debug, Default)]
pub(super) struct Messages {
    prefix: [u8; 5],
    prefix_len: usize,
    /// What is left of the message whose prefix is complete.
    left: u64,
}

impl Messages {
    const fn is_between(&self) -> bool {
        self.prefix_len == 0 && self.left == 0
    }

    fn follow(&mut self, data: &[u8]) -> Option<usize> {
        let (mut last, mut at) = (None, 0);
        while at < data.len() {
            let rest = data.len() - at;
            if self.left == 0 {
                let take = rest.min(self.prefix.len() - self.prefix_len);
                self.prefix[self.prefix_len..][..take].copy_from_slice(&data[at..at + take]);
                self.prefix_len += take;
                at += take;
                if self.prefix_len < self.prefix.len() {
                    break;
                }
                let [_, a, b, c, d] = self.prefix;
                self.prefix_len = 0;
                self.left = u32::from_be_bytes([a, b, c, d]).into();
            } else {
                let take = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                self.left -= take as u64;
                at += take;
            }
            if self.left == 0 {
                last = Some(at);
            }
        }
        last
    }
}

/// Parts of a multipart body. Only a delimiter shows that the part before it is whole, so it
/// ends in place of the next one, with the closing delimiter.
#[derive(Debug)]
pub(super) struct Parts {
    /// With the line feed before it.
    delimiter: Vec<u8>,
    /// The last bytes that were handed over, in which a delimiter may have begun.
    tail: Vec<u8>,
}

impl Parts {
    fn of(parameters: &str) -> Option<Self> {
        let boundary = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let found = name.trim().eq_ignore_ascii_case("boundary");
            found.then(|| value.trim().trim_matches('"'))
        })?;
        let usable = !boundary.is_empty() && boundary.len() <= DELIMITER_LEN_MAX;
        usable.then(|| Self {
            delimiter: format!("\n--{boundary}").into_bytes(),
            tail: Vec::new(),
        })
    }

    fn follow(&mut self, data: &[u8]) -> Option<usize> {
        let before = self.tail.len();
        self.tail.extend_from_slice(data);
        let found = memmem::rfind(&self.tail, &self.delimiter);
        // What has gone out cannot be taken back: of a delimiter, only its line feed may have.
        let end = found.and_then(|at| (at + 1).checked_sub(before));
        let keep = self.tail.len().min(self.delimiter.len() - 1);
        self.tail.drain(..self.tail.len() - keep);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framing_of(kind: &'static str) -> Framing {
        let kind = HeaderValue::from_static(kind);
        Framing::of(&HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]))
    }

    /// Hands the parts over, and returns for each where its last end is, and whether the
    /// whole could end after it.
    fn ends(kind: &'static str, parts: &[&[u8]]) -> Vec<(Option<usize>, bool)> {
        let mut framing = framing_of(kind);
        let follow = |part: &&[u8]| (framing.follow(part), framing.is_between());
        parts.iter().map(follow).collect()
    }

    #[test]
    fn an_event_ends_with_its_blank_line_however_lines_end_and_parts_are_cut() {
        let inside = (None, false);
        for (parts, expected) in [
            (&["data: 1\n\n"][..], &[(Some(9), true)][..]),
            (&["data: 1", "\n", "\n"], &[inside, inside, (Some(1), true)]),
            (&["data: 1\n\ndata: 2"], &[(Some(9), false)]),
            (&["data: 1\r\n\r\n"], &[(Some(11), true)]),
            // The last LF is waited for, and its event is whole without it.
            (&["data: 1\r\n\r", "\n"], &[inside, (Some(1), true)]),
            (&["data: 1\r\n\r", "data: 2"], &[inside, (Some(0), false)]),
            (&["data: 1\r", "\r"], &[inside, (Some(1), true)]),
            (&["data: 1\r\rdata: 2\r"], &[(Some(9), false)]),
            // A comment is no event, with and without a blank line.
            (
                &[": ping\n", "data: 1\n", ": ping\n"],
                &[(Some(7), true), inside, inside],
            ),
            (&[": pi", "ng\n"], &[inside, (Some(3), true)]),
            (&["retry: 9\n"], &[inside]),
            (&["", "\n"], &[(None, true), (Some(1), true)]),
        ] {
            let bytes: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            assert_eq!(
                ends("Text/Event-Stream; charset=utf-8", &bytes),
                expected,
                "{parts:?}"
            );
        }
        assert!(
            framing_of("text/event-stream").is_between(),
            "nothing was said"
        );
    }

    #[test]
    fn lines_and_messages_end_where_they_say() {
        let found = ends("application/x-ndjson", &[b"{}\n{", b"}", b"\n"]);
        assert_eq!(found, [(Some(3), false), (None, false), (Some(1), true)]);
        let found = ends("text/plain", &[b"a\nb\n"]);
        assert_eq!(found, [(Some(4), true)]);
        let empty = b"\0\0\0\0\0";
        let found = ends(
            "application/grpc",
            &[empty, b"\0\0\0\0\x02a", b"b\0", b"\0\0\0\x01c"],
        );
        assert_eq!(
            found,
            [
                (Some(5), true),
                (None, false),
                (Some(1), false),
                (Some(5), true)
            ]
        );
    }

    #[test]
    fn a_part_ends_at_the_next_delimiter_with_the_closing_one() {
        let mut parts = framing_of("multipart/x-mixed-replace; boundary=\"cut\"");
        assert_eq!(parts.follow(b"--cut\r\n\r\none\r\n"), None);
        assert!(!parts.is_between(), "the next delimiter may be half out");
        let next = Bytes::from_static(b"--cut\r\n\r\ntwo\r\n--c");
        assert_eq!(parts.follow(&next), Some(0));
        assert_eq!(parts.closed(&next, 0), "--cut--\r\n");
        assert_eq!(parts.follow(b"ut\r\n\r\nthree"), None, "it is half out");
        let next = Bytes::from_static(b"\r\n--cut\r\n\r\nfour");
        assert_eq!(parts.follow(&next), Some(2));
        assert_eq!(parts.closed(&next, 2), "\r\n--cut--\r\n");
    }

    #[test]
    fn of_what_is_compressed_or_strange_nothing_is_known() {
        let gzip = HeaderMap::from_iter([
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/event-stream"),
            ),
            (header::CONTENT_ENCODING, HeaderValue::from_static("gzip")),
        ]);
        let mut framing = Framing::of(&gzip);
        assert_eq!(
            (framing.follow(b"\n\n"), framing.is_between()),
            (None, false)
        );
        for kind in [
            "",
            "application/octet-stream",
            "multipart/x-mixed-replace",
            "application/grpc-web",
        ] {
            assert!(matches!(framing_of(kind), Framing::Unknown), "{kind}");
        }
    }

    proptest! {
        /// Goal: where a stream is cut into parts changes nothing of what it is made of.
        #[test]
        fn parts_do_not_matter(
            text in "[\r\n:a]{0,40}",
            cuts in proptest::collection::vec(0_usize..40, 0..6),
        ) {
            for kind in ["text/event-stream", "text/plain", "application/grpc"] {
                let (mut whole, mut cut) = (framing_of(kind), framing_of(kind));
                let mut last = whole.follow(text.as_bytes());
                // An end that only the next byte shows is one of the next part.
                let mut cuts: Vec<_> = cuts.iter().map(|at| *at.min(&text.len())).collect();
                cuts.sort_unstable();
                cuts.push(text.len());
                let mut from = 0;
                let mut found = None;
                for to in cuts {
                    found = cut.follow(&text.as_bytes()[from..to]).map(|at| from + at).or(found);
                    from = to;
                }
                prop_assert_eq!(whole.is_between(), cut.is_between());
                if last == Some(0) { last = None; }
                if found == Some(0) { found = None; }
                prop_assert_eq!(last, found);
            }
        }
    }
}
