//! Tests of the engine as a whole.

mod hostile;
mod parity;
