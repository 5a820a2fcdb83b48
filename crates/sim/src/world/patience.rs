//! Who gives up when: the requests that are on their way, in the order in which their clients leave.
//!
//! One patience is as long as the next, so that order is the one in which they were sent: a linked list through their slots, joined at its end and left anywhere.
//! Most requests are answered long before, and then nothing is left of their patience.
//! As events that nobody takes back they were the most of all that waited, half of the cost of a hundred instances and four fifths of that of a thousand.

/// Nobody.
const NONE: u32 = u32::MAX;

/// The list.
pub(super) struct Patiences {
    links: Vec<Link>,
    front: u32,
    back: u32,
}

#[derive(Clone, Copy)]
struct Link {
    at: u64,
    order: u64,
    before: u32,
    /// The one behind it; itself, if it is in no list.
    behind: u32,
}

impl Patiences {
    pub(super) const fn new() -> Self {
        Self {
            links: Vec::new(),
            front: NONE,
            back: NONE,
        }
    }

    /// Joins at the end. Returns whether that is where it belongs.
    pub(super) fn join(&mut self, id: u32, at: u64, order: u64) -> bool {
        let last = self.links.get(self.back as usize);
        if last.is_some_and(|last| last.at > at) {
            return false;
        }
        while self.links.len() <= id as usize {
            let behind = self.links.len() as u32;
            self.links.push(Link {
                at: 0,
                order: 0,
                before: NONE,
                behind,
            });
        }
        self.links[id as usize] = Link {
            at,
            order,
            before: self.back,
            behind: NONE,
        };
        match self.links.get_mut(self.back as usize) {
            Some(last) => last.behind = id,
            None => self.front = id,
        }
        self.back = id;
        true
    }

    /// Leaves, if it is there.
    pub(super) fn leave(&mut self, id: u32) {
        let Some(&Link { before, behind, .. }) = self.links.get(id as usize) else {
            return;
        };
        if behind == id {
            return;
        }
        match self.links.get_mut(before as usize) {
            Some(link) => link.behind = behind,
            None => self.front = behind,
        }
        match self.links.get_mut(behind as usize) {
            Some(link) => link.before = before,
            None => self.back = before,
        }
        self.links[id as usize].behind = id;
    }

    /// Who leaves first: when, its place among the events of that moment, and who it is.
    pub(super) fn first(&self) -> Option<(u64, u64, u32)> {
        let first = self.links.get(self.front as usize)?;
        Some((first.at, first.order, self.front))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_answered_leaves_nothing_behind() {
        let mut line = Patiences::new();
        for id in [4, 0, 2, 1] {
            assert!(line.join(id, 100 + u64::from(id % 2), u64::from(id)) || id == 0);
        }
        let mut left = Vec::new();
        line.leave(2);
        line.leave(2);
        line.leave(9);
        while let Some((at, _, id)) = line.first() {
            left.push((at, id));
            line.leave(id);
        }
        assert_eq!(left, [(100, 4), (100, 0), (101, 1)]);
        assert!(line.join(3, 7, 7), "an empty line takes anybody");
    }
}
