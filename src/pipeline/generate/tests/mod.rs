//! Requests from beginning to end, with an artist that only remembers what it was asked for.

mod engine;
mod fake;
mod pictures;
mod words;
