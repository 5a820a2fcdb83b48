//! One question to a nameserver and its answer, as much of DNS as tells why a name is not found.

use steadfast_diagnosis::DnsFault;

/// A number that comes back with the answer; the socket is connected, so no stranger answers.
const NUMBER: [u8; 2] = [0x50, 0x03];

/// What a nameserver answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its code: 0 is no error, 3 no such name.
    code: u8,
    /// Records that it sent.
    records: u16,
}

impl Answer {
    /// What is wrong, if anything.
    pub(crate) const fn fault(&self) -> Option<DnsFault> {
        match (self.code, self.records) {
            (0, 0) => Some(DnsFault::NoAddress),
            (0, _) => None,
            (2, _) => Some(DnsFault::TryAgain),
            (3, _) => Some(DnsFault::NotThere),
            (5, _) => Some(DnsFault::Refused),
            _ => Some(DnsFault::Other),
        }
    }
}

/// The question for the IPv4 address of a name; `None` if that is no name.
pub(crate) fn write(name: &str) -> Option<Vec<u8>> {
    // One question, and the nameserver is to ask others.
    let mut bytes = [&NUMBER[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok()?;
        if length == 0 || length > 63 || !label.is_ascii() {
            return None;
        }
        bytes.push(length);
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    (bytes.len() <= 12 + 255 + 4).then_some(bytes)
}

/// Reads the answer to a question; `None` if it is none.
pub(crate) fn read(bytes: &[u8], question: &[u8]) -> Option<Answer> {
    let is_answer = bytes.len() >= 12 && bytes[..2] == question[..2] && bytes[2] & 0x80 != 0;
    is_answer.then(|| Answer {
        code: bytes[3] & 0x0f,
        records: u16::from_be_bytes([bytes[6], bytes[7]]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_the_labels_of_the_name() {
        let bytes = write("db.example.").expect("a name");
        assert_eq!(&bytes[12..], b"\x02db\x07example\0\0\x01\0\x01");
        assert_eq!(write("a..b"), None);
        assert_eq!(write(&"a".repeat(64)), None);
        assert_eq!(write(&"a.".repeat(200)), None);
    }

    #[test]
    fn each_code_has_its_meaning() {
        let question = write("a").expect("a name");
        let fault = |code: u8, records: u8| {
            let bytes = [0x50, 3, 0x81, 0x80 | code, 0, 1, 0, records, 0, 0, 0, 0];
            read(&bytes, &question).map(|it| it.fault())
        };
        assert_eq!(fault(0, 1), Some(None));
        assert_eq!(fault(0, 0), Some(Some(DnsFault::NoAddress)));
        assert_eq!(fault(3, 0), Some(Some(DnsFault::NotThere)));
        assert_eq!(fault(2, 0), Some(Some(DnsFault::TryAgain)));
        assert_eq!(fault(5, 0), Some(Some(DnsFault::Refused)));
        assert_eq!(read(&question, &question), None);
        assert_eq!(read(b"", &question), None);
    }
}
