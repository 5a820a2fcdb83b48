//! What passes over an HTTP/2 connection, by the heads of its frames (RFC 9113, 4.1).
//!
//! hyper keeps to itself how far a connection is: whether bytes of answers move, whether the
//! peer has acknowledged GOAWAY. Both stand in the first nine bytes of each frame, so the
//! socket's wrapper reads those and skips the rest.

/// Length of a frame's head.
const HEAD: usize = 9;

/// As much of a GOAWAY's payload as its reason takes: the last stream, and the code.
const REASON: usize = 8;

const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// One direction of a connection, from its first frame on.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The head of the frame that passes, and the reason of a GOAWAY behind it.
    head: [u8; HEAD + REASON],
    have: usize,
    /// What is left of its payload.
    left: usize,
    pub(super) seen: Seen,
}

/// What has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Bytes of bodies.
    pub(super) data: u64,
    /// GOAWAY frames. A server that ends a connection in order sends one, and a second when
    /// the peer has acknowledged the first.
    pub(super) goaways: u64,
    /// Whether one of them blamed the peer.
    pub(super) blamed: bool,
    /// Frames that are neither PING nor SETTINGS: those a peer sends that wants something.
    pub(super) others: u64,
}

impl Frames {
    /// Bytes pass.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.have < HEAD {
                let part = bytes.len().min(HEAD - self.have);
                self.head[self.have..self.have + part].copy_from_slice(&bytes[..part]);
                self.have += part;
                bytes = &bytes[part..];
                if self.have == HEAD {
                    self.begin();
                }
                continue;
            }
            let part = bytes.len().min(self.left);
            self.payload(&bytes[..part]);
            bytes = &bytes[part..];
            self.left -= part;
            self.end_if_over();
        }
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, ..] = self.head;
        self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match kind {
            GOAWAY => self.seen.goaways += 1,
            PING | SETTINGS => {}
            _ => self.seen.others += 1,
        }
        self.end_if_over();
    }

    fn payload(&mut self, part: &[u8]) {
        match self.head[3] {
            DATA => self.seen.data += part.len() as u64,
            GOAWAY if self.have < HEAD + REASON => {
                let wanted = part.len().min(HEAD + REASON - self.have);
                self.head[self.have..self.have + wanted].copy_from_slice(&part[..wanted]);
                self.have += wanted;
                self.seen.blamed |=
                    self.have == HEAD + REASON && self.head[HEAD + 4..].iter().any(|it| *it != 0);
            }
            _ => {}
        }
    }

    fn end_if_over(&mut self) {
        if self.left == 0 {
            self.have = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn frames_are_told_apart_however_they_are_cut_into_pieces() {
        let all = [
            frame(SETTINGS, &[]),
            frame(DATA, &[7; 300]),
            frame(PING, &[1; 8]),
            frame(DATA, &[]),
            frame(8, &[0, 0, 0, 9]),
            frame(GOAWAY, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
            frame(GOAWAY, &[0, 0, 0, 1, 0, 0, 0, 11, b'c', b'a', b'l', b'm']),
            frame(DATA, &[7; 5]),
        ]
        .concat();
        for piece in [1, 2, 9, 10, 17, all.len()] {
            let mut frames = Frames::default();
            all.chunks(piece).for_each(|part| frames.pass(part));
            let expected = Seen {
                data: 305,
                goaways: 2,
                blamed: true,
                others: 4,
            };
            assert_eq!(frames.seen, expected, "pieces of {piece}");
        }
    }
}
