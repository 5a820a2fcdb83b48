//! What the shop needs, as the guard sees it.
