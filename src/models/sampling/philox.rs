//! The normal numbers that a CUDA device gives PyTorch, made on the processor.
//!
//! The generator is Philox 4x32 with 10 rounds (Salmon et al. 2011): a function from a counter and a
//! key to four words, with no state but the counter. The key is the seed. Each draw has a number, the
//! first word of the counter, and each value of a draw has a place, the third word. Of the four words
//! the first two become one normal value by the method of Box and Muller. This is the rule of the
//! WebUI's option "NV"; it gives a draw in the same order for any size.

use std::f64::consts::TAU;

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What the two words of the key grow by from round to round.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// A stream of normal numbers that is known by its seed.
#[derive(Debug, Clone)]
pub struct Philox {
    seed: u64,
    draws: u32,
}

impl Philox {
    /// The stream of a seed. A negative seed is taken as its two's complement, as PyTorch takes it.
    pub fn new(seed: i64) -> Self {
        Self {
            seed: seed as u64,
            draws: 0,
        }
    }

    /// The next draw of `count` values, which the caller has to bound. It depends on the seed and on how
    /// many draws there were before, not on their sizes. Beyond 2^32 places or draws the values repeat.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        let draw = self.draws;
        self.draws = self.draws.wrapping_add(1);
        (0..count)
            .map(|place| {
                let [first, second, ..] = philox([draw, 0, place as u32, 0], key);
                normal(first, second)
            })
            .collect()
    }
}

/// Ten rounds of Philox 4x32.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let product = |word: u32, multiplier: u32| {
            let product = u64::from(word) * u64::from(multiplier);
            ((product >> 32) as u32, product as u32)
        };
        let (high_a, low_a) = product(counter[0], MULTIPLIERS[0]);
        let (high_b, low_b) = product(counter[2], MULTIPLIERS[1]);
        counter = [
            high_b ^ counter[1] ^ key[0],
            low_b,
            high_a ^ counter[3] ^ key[1],
            low_a,
        ];
    }
    counter
}

/// The first value that Box and Muller make of two words. Half a unit keeps the logarithm away from
/// zero. CUDA's constants are 32-bit floats, so a turn is not quite two pi.
fn normal(first: u32, second: u32) -> f32 {
    let share = |word: u32| (f64::from(word) + 0.5) / 4_294_967_296.0;
    let radius = (-2.0 * share(first).ln()).sqrt();
    let angle = share(second) * f64::from(TAU as f32);
    (radius * angle.sin()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_authors() {
        // Known answers of Random123.
        let cases = [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, words) in cases {
            assert_eq!(philox(counter, key), words);
        }
    }

    #[test]
    fn seed_zero_gives_the_numbers_of_cuda() {
        let expected = [
            -0.924_662_6,
            -0.425_344_15,
            -2.643_845_7,
            0.145_183_88,
            -0.120_866_47,
            -0.579_725_6,
            -0.622_851_2,
            -0.328_387_1,
        ];
        for (got, want) in Philox::new(0).normals(8).into_iter().zip(expected) {
            assert!((got - want).abs() < 1e-6, "{got} and not {want}");
        }
    }

    #[test]
    fn a_draw_depends_on_its_number_and_not_on_sizes() {
        let mut one = Philox::new(42);
        let mut other = Philox::new(42);
        let first = one.normals(4);
        assert_eq!(other.normals(100)[..4], first);
        let second = one.normals(4);
        assert_ne!(second, first);
        assert_eq!(other.normals(4), second);
        assert!(one.normals(0).is_empty());
    }

    #[test]
    fn all_sixty_four_bits_of_a_seed_count() {
        let seeds = [0, 1, 1 << 32, i64::MAX, i64::MIN, -1, -2];
        let draws: Vec<_> = seeds.map(|seed| Philox::new(seed).normals(2)).into();
        for (index, draw) in draws.iter().enumerate() {
            assert!(draws[..index].iter().all(|other| other != draw));
        }
    }

    #[test]
    fn the_ends_of_the_words_are_finite() {
        for first in [0, u32::MAX] {
            for second in [0, u32::MAX, 1 << 30] {
                assert!(normal(first, second).is_finite());
            }
        }
    }

    #[test]
    fn the_numbers_are_standard_normal() {
        let draw = Philox::new(7).normals(100_000);
        let mean = draw.iter().map(|&x| f64::from(x)).sum::<f64>() / draw.len() as f64;
        let square = draw.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / draw.len() as f64;
        assert!(mean.abs() < 0.01 && (square - 1.0).abs() < 0.02);
    }
}
