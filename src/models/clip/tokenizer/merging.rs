//! Which pairs of tokens become one, and in which order: the learnt part of byte-pair encoding.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Pairs that become one token.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Merges {
    pairs: HashMap<(u32, u32), Merge>,
}

/// What a pair becomes. The lowest rank is merged first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Merge {
    rank: u32,
    id: u32,
}

impl Merges {
    pub(super) fn with_capacity(pairs: usize) -> Self {
        Self {
            pairs: HashMap::with_capacity(pairs),
        }
    }

    /// Adds a pair that is merged after all earlier ones; false if the pair is known already.
    pub(super) fn add(&mut self, pair: (u32, u32), id: u32) -> bool {
        // Vocabularies are far below 2^32 tokens, and each pair makes one.
        let rank = self.pairs.len() as u32;
        self.pairs.insert(pair, Merge { rank, id }).is_none()
    }

    /// Merges the symbols of one word until no pair of neighbours is known: the pair of the lowest
    /// rank first, and of equal ones the leftmost. Takes `n log n` for `n` symbols: each merge
    /// brings at most two new pairs.
    pub(super) fn apply(&self, symbols: Vec<u32>) -> Vec<u32> {
        let mut word = Word::new(symbols);
        let mut queue: BinaryHeap<Reverse<Candidate>> = (1..word.symbols.len())
            .filter_map(|right| self.candidate(&word, right - 1, right))
            .collect();
        while let Some(Reverse(candidate)) = queue.pop() {
            let Candidate { left, pair, id, .. } = candidate;
            if word.pair(left) != Some(pair) {
                continue;
            }
            word.merge(left, id);
            let before = word.before(left);
            let after = word.after(left);
            queue.extend(before.and_then(|before| self.candidate(&word, before, left)));
            queue.extend(after.and_then(|after| self.candidate(&word, left, after)));
        }
        word.into_symbols()
    }

    fn candidate(&self, word: &Word, left: usize, right: usize) -> Option<Reverse<Candidate>> {
        let pair = (word.symbols[left]?, word.symbols[right]?);
        let Merge { rank, id } = *self.pairs.get(&pair)?;
        let candidate = Candidate {
            rank,
            left,
            pair,
            id,
        };
        Some(Reverse(candidate))
    }
}

/// A pair that may be merged, if it is still there. Compared by rank, then by place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: usize,
    pair: (u32, u32),
    id: u32,
}

/// A word whose symbols vanish from between others: a list linked both ways, in three arrays.
struct Word {
    /// None where a symbol was merged into the one before.
    symbols: Vec<Option<u32>>,
    /// Place of the next symbol; the length of the word after the last one.
    next: Vec<usize>,
    /// Place of the symbol before; the length of the word before the first one.
    previous: Vec<usize>,
}

impl Word {
    fn new(symbols: Vec<u32>) -> Self {
        let count = symbols.len();
        Self {
            symbols: symbols.into_iter().map(Some).collect(),
            next: (1..=count).collect(),
            previous: (0..count)
                .map(|at| at.checked_sub(1).unwrap_or(count))
                .collect(),
        }
    }

    fn before(&self, at: usize) -> Option<usize> {
        Some(self.previous[at]).filter(|&before| before < self.symbols.len())
    }

    fn after(&self, at: usize) -> Option<usize> {
        Some(self.next[at]).filter(|&after| after < self.symbols.len())
    }

    /// The symbol at `left` and its right neighbour, if both are there.
    fn pair(&self, left: usize) -> Option<(u32, u32)> {
        Some((self.symbols[left]?, self.symbols[self.after(left)?]?))
    }

    /// Puts `id` in the place of the pair at `left`.
    fn merge(&mut self, left: usize, id: u32) {
        self.symbols[left] = Some(id);
        if let Some(right) = self.after(left) {
            self.symbols[right] = None;
            self.next[left] = self.next[right];
            if let Some(after) = self.after(left) {
                self.previous[after] = left;
            }
        }
    }

    fn into_symbols(self) -> Vec<u32> {
        self.symbols.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Merges by hand: looks for the best pair again after each merge.
    fn slowly(merges: &Merges, mut symbols: Vec<u32>) -> Vec<u32> {
        loop {
            let pairs = symbols.windows(2).enumerate();
            let known = pairs.filter_map(|(at, pair)| {
                let merge = merges.pairs.get(&(pair[0], pair[1]))?;
                Some((merge.rank, at, merge.id))
            });
            let Some((_, at, id)) = known.min() else {
                return symbols;
            };
            symbols.splice(at..at + 2, [id]);
        }
    }

    #[test]
    fn the_lowest_rank_is_merged_first_and_of_equal_ones_the_leftmost() {
        let mut merges = Merges::default();
        assert!(merges.add((1, 2), 10));
        assert!(merges.add((0, 1), 11));
        assert!(merges.add((3, 3), 12));
        assert_eq!(merges.apply(vec![0, 1, 2]), [0, 10]);
        assert_eq!(merges.apply(vec![3, 3, 3]), [12, 3]);
        assert_eq!(merges.apply(vec![7]), [7]);
        assert_eq!(merges.apply(vec![]), [0; 0]);
    }

    #[test]
    fn a_pair_is_added_once() {
        let mut merges = Merges::default();
        assert!(merges.add((1, 2), 10));
        assert!(!merges.add((1, 2), 11));
    }

    #[test]
    fn the_queue_gives_what_looking_again_after_each_merge_gives() {
        let mut state = 1_u64;
        let mut draw = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..300 {
            let mut merges = Merges::default();
            for id in 3..3 + draw(12) as u32 {
                let pair = (draw(u64::from(id)) as u32, draw(u64::from(id)) as u32);
                merges.add(pair, id);
            }
            let symbols: Vec<u32> = (0..draw(40)).map(|_| draw(3) as u32).collect();
            assert_eq!(merges.apply(symbols.clone()), slowly(&merges, symbols));
        }
    }
}
