//! Files, plain or gzip, as chunks of whole lines; nothing in them can make it keep more than one
//! chunk.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use memchr::{memchr, memrchr};

/// A file that is read line by line, many at a time.
pub(crate) struct Lines {
    source: Source,
    /// The beginning of a line whose end is in the next chunk.
    carry: Vec<u8>,
    /// Whether the rest of a line that was too long is still to come.
    skipping: bool,
    ended: bool,
    /// How long a chunk is, and how much is asked of the file at once.
    lengths: (usize, usize),
    /// Lines of which only the beginning was looked at.
    pub(crate) cut: u64,
    /// What was read, unpacked.
    pub(crate) bytes: u64,
    /// Why it was not read to its end.
    pub(crate) note: Option<String>,
}

enum Source {
    Plain(Box<dyn BufRead + Send>),
    Gzip(Box<MultiGzDecoder<Counted>>),
}

/// Counts what is packed, so that what it unpacks to can be held against it.
struct Counted {
    inner: Box<dyn BufRead + Send>,
    taken: u64,
}

/// How much may come out of a packed file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unpacking {
    /// Bytes, whatever the ratio; `None` for the ratio alone.
    pub(crate) max: Option<u64>,
    /// What may come out whatever it is packed to.
    pub(crate) free: u64,
}

impl Unpacking {
    /// As the user says, or until it packs better than a log.
    pub(crate) const fn new(max: Option<u64>) -> Self {
        let free = RATIO_FREE;
        Self { max, free }
    }
}

impl Lines {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is a directory.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let inner: Box<dyn BufRead + Send> = if path.as_os_str() == "-" {
            Box::new(BufReader::with_capacity(READ, io::stdin()))
        } else {
            let file = File::open(path)?;
            if file.metadata()?.is_dir() {
                return Err(io::Error::new(
                    io::ErrorKind::IsADirectory,
                    "a directory, not a log",
                ));
            }
            Box::new(BufReader::with_capacity(READ, file))
        };
        Self::new(inner)
    }

    /// Reads from anything.
    ///
    /// # Errors
    ///
    /// When not even the first bytes can be read.
    pub(crate) fn new(mut inner: Box<dyn BufRead + Send>) -> io::Result<Self> {
        let start = inner.fill_buf()?;
        let source = if start.starts_with(GZIP) {
            Source::Gzip(Box::new(MultiGzDecoder::new(Counted { inner, taken: 0 })))
        } else {
            Source::Plain(inner)
        };
        Ok(Self {
            source,
            carry: Vec::new(),
            skipping: false,
            ended: false,
            lengths: (CHUNK, READ),
            cut: 0,
            bytes: 0,
            note: None,
        })
    }

    /// Reads in small chunks, so that millions of small inputs end in minutes.
    #[cfg(test)]
    pub(crate) fn small(mut self) -> Self {
        self.lengths = (LINE_MAX, 1 << 10);
        self
    }

    /// Puts whole lines into `chunk`, which is emptied first; false at the end.
    pub(crate) fn fill(&mut self, chunk: &mut Vec<u8>, unpacking: Unpacking) -> bool {
        chunk.clear();
        chunk.append(&mut self.carry);
        let mut filled = chunk.len();
        // Once for the whole chunk: zeroing it again for each read would cost more than reading.
        let (long, read) = self.lengths;
        chunk.resize(long.max(filled + read), 0);
        while !self.ended && filled < long {
            let got = self.read(&mut chunk[filled..], unpacking);
            let new = &mut chunk[filled..filled + got];
            filled += if self.skipping { self.skip(new) } else { got };
        }
        chunk.truncate(filled);
        if self.ended {
            return !chunk.is_empty();
        }
        if let Some(end) = memrchr(b'\n', chunk) {
            self.carry.extend_from_slice(&chunk[end + 1..]);
            chunk.truncate(end + 1);
        } else {
            // One line fills the chunk: its beginning is enough.
            chunk.truncate(LINE_MAX);
            chunk.push(b'\n');
            self.cut += 1;
            self.skipping = true;
        }
        true
    }

    /// Drops what belongs to the line that was too long, and says how much is left.
    fn skip(&mut self, new: &mut [u8]) -> usize {
        let Some(at) = memchr(b'\n', new) else {
            return 0;
        };
        self.skipping = false;
        new.copy_within(at + 1.., 0);
        new.len() - at - 1
    }

    fn read(&mut self, into: &mut [u8], unpacking: Unpacking) -> usize {
        let read = match &mut self.source {
            Source::Plain(inner) => inner.read(into),
            Source::Gzip(decoder) => decoder.read(into),
        };
        let got = match read {
            Ok(0) => {
                self.ended = true;
                0
            }
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                self.ended = true;
                self.note = Some(match error.kind() {
                    io::ErrorKind::UnexpectedEof => "it ends in the middle of a gzip stream".into(),
                    _ => format!("it could be read up to byte {}: {error}", self.bytes),
                });
                0
            }
        };
        self.bytes += got as u64;
        if let Source::Gzip(decoder) = &self.source {
            let packed = decoder.get_ref().taken;
            let most = unpacking
                .max
                .unwrap_or(unpacking.free.max(packed.saturating_mul(RATIO_MAX)));
            if self.bytes > most && !self.ended {
                self.ended = true;
                self.note = Some(format!(
                    "reading ended after {} bytes unpacked from {packed}: more than a log packs to; \
                     --unpacked-max BYTES reads on",
                    self.bytes
                ));
            }
        }
        got
    }
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(into)?;
        self.taken += got as u64;
        Ok(got)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.taken += amount as u64;
        self.inner.consume(amount);
    }
}

/// The lines of a chunk, without their ends, at most [`LINE_MAX`] bytes of each.
pub(crate) fn lines(chunk: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = chunk;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some(&line[..line.len().min(LINE_MAX)])
    })
}

const GZIP: &[u8] = b"\x1f\x8b";
/// What two threads hand each other: large against the cost of it, small against memory.
pub(crate) const CHUNK: usize = 1 << 20;
/// What is asked of the file at once.
const READ: usize = 128 << 10;
/// Every part of a line that is looked at stands in its beginning; proxies cut at 64 KiB or less.
pub(crate) const LINE_MAX: usize = 64 << 10;
/// A small bomb does no harm, and small files pack best.
const RATIO_FREE: u64 = 256 << 20;
/// gzip's most is 1032; logs reach 10 to 40, the same line over and over 150.
const RATIO_MAX: u64 = 250;

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// Small, so that the test is quick.
    const FREE: u64 = 4 << 20;

    fn opened(bytes: Vec<u8>) -> Lines {
        Lines::new(Box::new(Cursor::new(bytes))).expect("memory can be read")
    }

    fn all(lines: &mut Lines, max: Option<u64>) -> Vec<Vec<u8>> {
        let (mut chunk, mut found) = (Vec::new(), Vec::new());
        while lines.fill(&mut chunk, Unpacking { max, free: FREE }) {
            assert!(chunk.len() <= CHUNK + READ, "{}", chunk.len());
            found.extend(self::lines(&chunk).map(<[u8]>::to_vec));
        }
        found
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory can be written");
        encoder.finish().expect("memory can be written")
    }

    #[test]
    fn lines_come_whole_and_in_order() {
        let text: String = (0..30_000).map(|it| format!("line {it:060}\n")).collect();
        for bytes in [text.clone().into_bytes(), packed(text.as_bytes())] {
            let found = all(&mut opened(bytes), None);
            assert_eq!(found.len(), 30_000);
            let wrong = found
                .iter()
                .enumerate()
                .find(|(at, it)| **it != format!("line {at:060}").into_bytes());
            assert_eq!(wrong, None);
        }
        assert_eq!(
            all(&mut opened(b"a\r\n\nb".to_vec()), None),
            [&b"a"[..], b"", b"b"]
        );
    }

    #[test]
    fn of_a_line_of_any_length_the_beginning_is_kept() {
        let long = [b"x".repeat(5 * CHUNK), b"\nshort\n".to_vec()].concat();
        let mut lines = opened(long);
        let found = all(&mut lines, None);
        assert_eq!(
            found.iter().map(Vec::len).collect::<Vec<_>>(),
            [LINE_MAX, 5]
        );
        assert_eq!(lines.cut, 1);
    }

    #[test]
    fn a_torn_file_is_read_as_far_as_it_goes() {
        let text = "a line\n".repeat(100_000);
        let mut torn = packed(text.as_bytes());
        torn.truncate(torn.len() / 2);
        let mut lines = opened(torn);
        assert!(all(&mut lines, None).len() > 1000);
        assert_eq!(
            lines.note.as_deref(),
            Some("it ends in the middle of a gzip stream")
        );
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![0; 40 << 20])
            .expect("memory can be written");
        let bomb = bomb.finish().expect("memory can be written");
        let mut lines = opened(bomb);
        assert!(all(&mut lines, None).len() <= 1);
        assert!(lines.note.is_some_and(|it| it.contains("--unpacked-max")));
        assert!(lines.bytes < 2 * FREE + (1 << 21));
        let mut lines = opened(packed(b"a\nb\nc\n"));
        all(&mut lines, Some(1));
        assert!(lines.note.is_some());
    }
}
