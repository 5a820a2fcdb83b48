//! Who made the answer: from its body, its headers and its timing.
