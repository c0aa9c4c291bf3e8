//! What the store does by itself from time to time.

pub(super) mod history;
