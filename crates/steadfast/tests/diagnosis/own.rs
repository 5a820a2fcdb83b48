//! What the process sees of itself beside its requests.
