//! What each step looks at: photo, mirroring, time step and noise, from the seed and the number of
//! the step alone. Nothing here has a state, so there is none to save.

use crate::models::sampling::Philox;

/// What a draw is for; draws for different purposes have nothing to do with each other.
#[derive(Clone, Copy)]
enum Purpose {
    Order,
    Mirror,
    Time,
    Noise,
    Start,
}

/// All draws of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    seed: u64,
}

/// What one picture of a step is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// Which photo.
    pub photo: usize,
    /// Whether it is mirrored.
    pub mirrored: bool,
    /// The time step.
    pub time: usize,
    /// Chooses the latent among those that the photo may have: `[channels, rows, columns]`.
    pub latent_noise: Vec<f32>,
    /// What is added to it, `[channels, rows, columns]`.
    pub noise: Vec<f32>,
    /// One number for each channel.
    pub offset: Vec<f32>,
}

impl Draws {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Picture number `index` of a training, counted over all steps, from so many photos and time
    /// steps. In each round every photo comes once.
    pub fn draw(self, index: u64, photos: usize, times: usize, latent: [usize; 3]) -> Draw {
        let round = index / photos as u64;
        let place = (index % photos as u64) as usize;
        let count = latent.iter().product();
        let mut noise = Philox::new(self.word(Purpose::Noise, index, 0) as i64);
        Draw {
            photo: self.order(round, photos)[place],
            mirrored: self.word(Purpose::Mirror, index, 0).is_multiple_of(2),
            time: self.below(Purpose::Time, index, 0, times),
            latent_noise: noise.normals(count),
            noise: noise.normals(count),
            offset: noise.normals(latent[0]),
        }
    }

    /// The photos of a round, in the order in which they come (Fisher and Yates).
    fn order(self, round: u64, photos: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..photos).collect();
        for last in (1..photos).rev() {
            let other = self.below(Purpose::Order, round, last as u64, last + 1);
            order.swap(last, other);
        }
        order
    }

    /// Numbers evenly between `-bound` and `bound`, those of layer number `layer`.
    pub fn start(self, layer: u64, count: usize, bound: f32) -> Vec<f32> {
        let number = |place: usize| {
            let word = self.word(Purpose::Start, layer, place as u64);
            // The upper 24 bits are what a 32-bit float can hold.
            let share = (word >> 40) as f32 / (1_u32 << 24) as f32;
            (2.0 * share - 1.0) * bound
        };
        (0..count).map(number).collect()
    }

    /// A whole number below `end`.
    fn below(self, purpose: Purpose, first: u64, second: u64, end: usize) -> usize {
        let word = u128::from(self.word(purpose, first, second));
        ((word * end as u128) >> 64) as usize
    }

    /// 64 bits for a purpose and two numbers.
    fn word(self, purpose: Purpose, first: u64, second: u64) -> u64 {
        [purpose as u64, first, second]
            .into_iter()
            .fold(mix(self.seed), |state, number| mix(state ^ mix(number)))
    }
}

/// One step of SplitMix64 (Steele, Lea and Flood 2014): every bit of the result depends on all bits.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENT: [usize; 3] = [4, 3, 2];

    #[test]
    fn a_draw_depends_on_seed_and_number_alone() {
        let draw = |seed, index| Draws::new(seed).draw(index, 5, 1000, LATENT);
        assert_eq!(draw(1, 17), draw(1, 17));
        assert_ne!(draw(1, 17).noise, draw(1, 18).noise);
        assert_ne!(draw(1, 17).noise, draw(2, 17).noise);
        assert_ne!(draw(1, 17).noise, draw(1, 17).latent_noise);
    }

    #[test]
    fn every_photo_comes_once_in_each_round() {
        let draws = Draws::new(3);
        let mut orders = Vec::new();
        for round in 0..4_u64 {
            let photo = |place| draws.draw(round * 6 + place, 6, 10, LATENT).photo;
            let order: Vec<usize> = (0..6).map(photo).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
            orders.push(order);
        }
        assert!(orders.iter().any(|order| order != &orders[0]));
    }

    #[test]
    fn time_steps_and_mirroring_are_spread_evenly() {
        let draws = Draws::new(9);
        let all: Vec<Draw> = (0..2000)
            .map(|index| draws.draw(index, 7, 1000, [1, 1, 1]))
            .collect();
        let mean = all.iter().map(|draw| draw.time as f64).sum::<f64>() / all.len() as f64;
        // Three standard deviations of the mean of 2000 even numbers below 1000.
        assert!((mean - 499.5).abs() < 20.0, "{mean}");
        let mirrored = all.iter().filter(|draw| draw.mirrored).count();
        assert!((900..1100).contains(&mirrored), "{mirrored}");
        assert!(all.iter().all(|draw| draw.time < 1000 && draw.photo < 7));
    }

    #[test]
    fn what_factors_start_from_is_even_and_bounded() {
        let numbers = Draws::new(4).start(2, 4096, 0.25);
        assert!(numbers.iter().all(|number| number.abs() <= 0.25));
        let mean = numbers.iter().sum::<f32>() / numbers.len() as f32;
        assert!(mean.abs() < 0.01, "{mean}");
        assert_ne!(numbers[..8], Draws::new(4).start(3, 8, 0.25));
    }
}
