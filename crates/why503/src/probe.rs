//! Asks the target a few times, and times each step apart.
