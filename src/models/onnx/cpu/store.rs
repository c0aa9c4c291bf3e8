//! Memory of feature maps that are no longer needed, for those that come next.
//!
//! A fresh piece of memory has to be cleared by the system page by page, which would cost a small
//! network as much time as its arithmetic.

use std::sync::{Mutex, PoisonError};

use burn::backend::flex::FlexTensor;

/// Most numbers that are kept: 64 MiB.
const MAX_KEPT: usize = 16 << 20;

/// Free pieces of memory.
#[derive(Default)]
pub struct Store(Mutex<Free>);

#[derive(Default)]
struct Free {
    pieces: Vec<Vec<f32>>,
    numbers: usize,
}

impl Store {
    /// Memory for so many numbers, whose values mean nothing: the caller overwrites all of them.
    pub fn take(&self, count: usize) -> Vec<f32> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |piece: &Vec<f32>| (count..=2 * count + 64).contains(&piece.capacity());
        let best = (0..free.pieces.len())
            .filter(|&i| fits(&free.pieces[i]))
            .min_by_key(|&i| free.pieces[i].capacity());
        let mut piece = match best {
            Some(best) => {
                let piece = free.pieces.swap_remove(best);
                free.numbers -= piece.capacity();
                piece
            }
            None => Vec::new(),
        };
        drop(free);
        // Only what the piece did not have before is cleared.
        piece.resize(count, 0.0);
        piece
    }

    /// Keeps the memory of a tensor that nobody else has.
    pub fn give(&self, tensor: FlexTensor) {
        let Ok(piece) = tensor.into_data().into_vec::<f32>() else {
            return;
        };
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.numbers + piece.capacity() <= MAX_KEPT {
            free.numbers += piece.capacity();
            free.pieces.push(piece);
        }
    }
}
