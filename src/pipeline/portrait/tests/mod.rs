//! Portraits with a painter and an observer that do what the test says.

mod fake;
mod making;
mod optional;
mod real_photos;
mod requests;
mod work;
