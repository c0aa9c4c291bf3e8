//! Memory of feature maps that are no longer needed, for those that come next.
//!
//! A fresh piece of memory has to be cleared by the system page by page, which would cost a small
//! network as much time as its arithmetic.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use burn::backend::flex::FlexTensor;

/// Most numbers that are kept: 64 MiB.
const MAX_KEPT: usize = 16 << 20;

/// Free pieces of memory.
#[derive(Default)]
pub struct Store(Mutex<Free>);

#[derive(Default)]
struct Free {
    /// The longest unused first.
    pieces: VecDeque<Vec<f32>>,
    numbers: usize,
}

impl Store {
    /// Memory for so many numbers, whose values mean nothing: the caller overwrites all of them.
    pub fn take(&self, count: usize) -> Vec<f32> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |piece: &Vec<f32>| (count..=2 * count + 64).contains(&piece.capacity());
        // Of equal ones the last: what was written a moment ago is still in the cache.
        let best = (0..free.pieces.len())
            .rev()
            .filter(|&i| fits(&free.pieces[i]))
            .min_by_key(|&i| free.pieces[i].capacity());
        let mut piece = best
            .and_then(|best| free.pieces.remove(best))
            .unwrap_or_default();
        free.numbers -= piece.capacity();
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
        if piece.capacity() == 0 || piece.capacity() > MAX_KEPT {
            return;
        }
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.numbers += piece.capacity();
        free.pieces.push_back(piece);
        // Pieces that were not wanted for longest fit pictures of another size.
        while free.numbers > MAX_KEPT
            && let Some(oldest) = free.pieces.pop_front()
        {
            free.numbers -= oldest.capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    fn piece(count: usize) -> FlexTensor {
        FlexTensor::from_data(TensorData::new(vec![1.0_f32; count], [count]))
    }

    #[test]
    fn pieces_come_back_and_the_oldest_make_room() {
        let store = Store::default();
        store.give(piece(1000));
        let capacity = || store.0.lock().unwrap().numbers;
        assert_eq!(capacity(), 1000);
        assert_eq!(store.take(900).len(), 900);
        assert_eq!(capacity(), 0);
        // Memory for pictures of one size, and then for those of another.
        let large = MAX_KEPT / 4;
        for _ in 0..4 {
            store.give(piece(large));
        }
        store.give(piece(1000));
        assert_eq!(capacity(), 3 * large + 1000);
        assert_eq!(store.take(1000).capacity(), 1000);
        assert_eq!(capacity(), 3 * large);
    }
}
