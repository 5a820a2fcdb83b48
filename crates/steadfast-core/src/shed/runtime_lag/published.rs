//! The published decision, as one word.

/// The published decision: bit 63 says that requests stand in line, the low 32 bits for how
/// many there is room, those between how many milliseconds one waits when it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) lined: bool,
    pub(super) room: Option<u32>,
    pub(super) full_wait_ms: u16,
}

impl Published {
    pub(super) const CALM: Self = Self {
        lined: false,
        room: None,
        full_wait_ms: 0,
    };

    pub(super) const fn to_word(self) -> u64 {
        let room = match self.room {
            Some(room) => room,
            None => u32::MAX,
        };
        (self.lined as u64) << 63 | (self.full_wait_ms as u64) << 32 | room as u64
    }

    pub(super) const fn from_word(word: u64) -> Self {
        Self {
            lined: word >> 63 != 0,
            room: match word as u32 {
                u32::MAX => None,
                room => Some(room),
            },
            full_wait_ms: (word >> 32) as u16,
        }
    }
}
