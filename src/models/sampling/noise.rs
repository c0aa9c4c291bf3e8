//! The noise of a batch of pictures, from their seeds, by the WebUI's rules: each picture has a generator of
//! its own, so a picture does not depend on the others of its batch.

use super::SamplingError;
use super::philox::Philox;

/// Most values that one draw may have, over all pictures: a gigabyte.
pub const VALUES_MAX: usize = 1 << 28;
/// Pixels that one place of the latent picture stands for, along each side.
const PIXELS: i64 = 8;
/// Mean cosine above which two noises count as the same.
const SAME: f64 = 0.9995;

/// The seeds of a batch: each picture has the next one. With variations (`subseed_strength` not 0) all
/// pictures have the first, and only the seeds of the variations are counted up, by `seeds(first, n, 0.0)`.
///
/// The seed -1, which means any, has to be replaced before. Others may be negative; counting wraps around.
pub fn seeds(first: i64, pictures: usize, variation_strength: f64) -> Vec<i64> {
    let is_varied = variation_strength != 0.0;
    let seed = |picture: usize| {
        if is_varied {
            first
        } else {
            first.wrapping_add(picture as i64)
        }
    };
    (0..pictures).map(seed).collect()
}

/// A second noise that is mixed into the first draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Variation {
    /// A seed for each picture (`subseed`); a picture beyond them has seed 0.
    pub seeds: Vec<i64>,
    /// How much of it there is, from 0 to 1 (`subseed_strength`).
    pub strength: f64,
}

/// What noise is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseRequest {
    /// Channels, height and width of one latent picture.
    pub shape: [usize; 3],
    /// A seed for each picture.
    pub seeds: Vec<i64>,
    /// A second noise.
    pub variation: Option<Variation>,
    /// Height and width in pixels of the picture whose composition shall be kept (`seed_resize_from_h`,
    /// `seed_resize_from_w`); none where one of them is 0 or less.
    pub resize_from: [i64; 2],
    /// Added to each seed for all draws but the first (`eta_noise_seed_delta`); 0 goes on with the
    /// generators of the first draw.
    pub later_seed_delta: i64,
}

impl NoiseRequest {
    /// Plain noise of this shape for these seeds.
    pub fn new(shape: [usize; 3], seeds: Vec<i64>) -> Self {
        Self {
            shape,
            seeds,
            variation: None,
            resize_from: [0; 2],
            later_seed_delta: 0,
        }
    }

    /// The shape that the first draw is made in.
    fn first_shape(&self) -> [usize; 3] {
        let [height, width] = self.resize_from;
        if height <= 0 || width <= 0 {
            return self.shape;
        }
        [
            self.shape[0],
            (height / PIXELS) as usize,
            (width / PIXELS) as usize,
        ]
    }
}

/// The noise of a batch, draw by draw.
#[derive(Debug, Clone)]
pub struct NoiseSource {
    request: NoiseRequest,
    generators: Vec<Philox>,
    is_first: bool,
}

impl NoiseSource {
    /// [`SamplingError::NoiseSize`] when there is nothing to draw or a draw has more than [`VALUES_MAX`]
    /// values; [`SamplingError::Setting`] when the strength of the variation is not from 0 to 1.
    pub fn new(request: NoiseRequest) -> Result<Self, SamplingError> {
        let pictures = request.seeds.len();
        for shape in [request.shape, request.first_shape()] {
            let values = shape.into_iter().try_fold(1, usize::checked_mul);
            let values = values.unwrap_or(usize::MAX);
            let all = values.checked_mul(pictures);
            if all.is_none_or(|all| all > VALUES_MAX) {
                return Err(SamplingError::NoiseSize {
                    pictures,
                    values,
                    most: VALUES_MAX,
                });
            }
        }
        if pictures == 0 || request.shape.contains(&0) {
            return Err(SamplingError::NoiseSize {
                pictures,
                values: 0,
                most: VALUES_MAX,
            });
        }
        if let Some(variation) = &request.variation
            && !(0.0..=1.0).contains(&variation.strength)
        {
            return Err(SamplingError::Setting {
                name: "the strength of the variation",
                value: variation.strength,
                least: 0.0,
                most: 1.0,
            });
        }
        let generators = request
            .seeds
            .iter()
            .map(|&seed| Philox::new(seed))
            .collect();
        Ok(Self {
            request,
            generators,
            is_first: true,
        })
    }

    /// The next noise of all pictures, `[pictures, channels, height, width]`. The first draw follows the
    /// rules of variation and size; each later one goes on with the pictures' own generators.
    pub fn draw(&mut self) -> Vec<f32> {
        let count = self.request.shape.iter().product();
        if !self.is_first {
            let draws = self.generators.iter_mut();
            return draws
                .flat_map(|generator| generator.normals(count))
                .collect();
        }
        self.is_first = false;
        let mut noise = Vec::with_capacity(count * self.generators.len());
        for picture in 0..self.generators.len() {
            noise.extend(self.first(picture));
        }
        let delta = self.request.later_seed_delta;
        if delta != 0 {
            let seeds = self.request.seeds.iter();
            let later = seeds.map(|seed| Philox::new(seed.wrapping_add(delta)));
            self.generators = later.collect();
        }
        noise
    }

    fn first(&mut self, picture: usize) -> Vec<f32> {
        let request = &self.request;
        let (shape, first_shape) = (request.shape, request.first_shape());
        let own = self.generators[picture].normals(shape.iter().product());
        let count = first_shape.iter().product();
        let mut noise = if first_shape == shape {
            own.clone()
        } else {
            Philox::new(request.seeds[picture]).normals(count)
        };
        if let Some(variation) = request.variation.as_ref().filter(|it| it.strength != 0.0) {
            let seed = variation.seeds.get(picture).copied().unwrap_or(0);
            let other = Philox::new(seed).normals(count);
            noise = mix(&noise, &other, first_shape, variation.strength);
        }
        if first_shape == shape {
            return noise;
        }
        place(own, shape, &noise, first_shape)
    }
}

/// `noise` in the middle of `ground`, or the middle of `noise` where it is larger, along each side.
fn place(mut ground: Vec<f32>, shape: [usize; 3], noise: &[f32], from: [usize; 3]) -> Vec<f32> {
    let [_, height, width] = shape;
    let (to_y, from_y, rows) = span(height, from[1]);
    let (to_x, from_x, columns) = span(width, from[2]);
    for channel in 0..shape[0] {
        for row in 0..rows {
            let to = (channel * height + to_y + row) * width + to_x;
            let start = (channel * from[1] + from_y + row) * from[2] + from_x;
            ground[to..to + columns].copy_from_slice(&noise[start..start + columns]);
        }
    }
    ground
}

/// Where a side of `from` places goes on one of `size`, where it is taken from, and how much of it. An odd
/// difference is rounded down, so of a side that is larger by one, two places are left out.
fn span(size: usize, from: usize) -> (usize, usize, usize) {
    if from <= size {
        return ((size - from) / 2, 0, from);
    }
    let cut = (from - size).div_ceil(2);
    (0, cut, from - 2 * cut)
}

/// Spherical interpolation, from `low` at 0 to `high` at 1, along the columns of each channel: the WebUI
/// takes the angle between two noises column by column, as if each were a vector of its own.
///
/// Where two noises are nearly the same the WebUI mixes them straight, and with the weights exchanged.
fn mix(low: &[f32], high: &[f32], shape: [usize; 3], share: f64) -> Vec<f32> {
    let [channels, height, width] = shape;
    let cosines: Vec<f64> = (0..channels * width)
        .map(|column| {
            let first = column / width * height * width + column % width;
            let places = (0..height).map(|row| first + row * width);
            cosine(places.map(|place| (f64::from(low[place]), f64::from(high[place]))))
        })
        .collect();
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    let weights: Vec<(f64, f64)> = cosines
        .into_iter()
        .map(|cosine| {
            if mean > SAME {
                (share, 1.0 - share)
            } else {
                arc(cosine, share)
            }
        })
        .collect();
    let values = low.iter().zip(high).enumerate();
    let mixed = values.map(|(place, (&low, &high))| {
        let (channel, column) = (place / (height * width), place % width);
        let (to_low, to_high) = weights[channel * width + column];
        (to_low * f64::from(low) + to_high * f64::from(high)) as f32
    });
    mixed.collect()
}

/// The weights at this share of the way along an arc. Where the arc has no direction, in columns of one
/// value, the way is straight.
fn arc(cosine: f64, share: f64) -> (f64, f64) {
    let angle = cosine.clamp(-1.0, 1.0).acos();
    if angle.sin().abs() < 1e-6 {
        return (1.0 - share, share);
    }
    let weight = |share: f64| (share * angle).sin() / angle.sin();
    (weight(1.0 - share), weight(share))
}

fn cosine(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut product, mut low, mut high) = (0.0, 0.0, 0.0);
    for (one, other) in pairs {
        product += one * other;
        low += one * one;
        high += other * other;
    }
    let cosine = product / (low * high).sqrt();
    if cosine.is_finite() { cosine } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(change: impl FnOnce(&mut NoiseRequest)) -> NoiseSource {
        let mut request = NoiseRequest::new([4, 6, 5], vec![11, 12]);
        change(&mut request);
        NoiseSource::new(request).unwrap()
    }

    #[test]
    fn a_picture_does_not_depend_on_its_batch() {
        let mut batch = source(|_| ());
        let mut alone = source(|request| request.seeds = vec![12]);
        for _ in 0..3 {
            assert_eq!(batch.draw()[120..], alone.draw());
        }
    }

    #[test]
    fn draws_are_those_of_the_pictures_own_generators() {
        let mut batch = source(|_| ());
        let mut own = Philox::new(11);
        let draws = [batch.draw(), batch.draw()];
        assert_eq!(draws[0][..120], own.normals(120));
        assert_eq!(draws[1][..120], own.normals(120));
        assert_ne!(draws[0], draws[1]);
    }

    #[test]
    fn a_delta_of_seeds_changes_all_draws_but_the_first() {
        let mut plain = source(|_| ());
        let mut other = source(|request| request.later_seed_delta = 31_337);
        assert_eq!(plain.draw(), other.draw());
        assert_eq!(other.draw()[..120], Philox::new(11 + 31_337).normals(120));
    }

    #[test]
    fn a_variation_goes_from_one_noise_to_the_other() {
        let varied = |strength| {
            let variation = Variation {
                seeds: vec![77],
                strength,
            };
            source(|request| request.variation = Some(variation)).draw()
        };
        let plain = source(|_| ()).draw();
        assert_eq!(varied(0.0), plain);
        for (got, want) in varied(1.0).iter().zip(Philox::new(77).normals(120)) {
            assert!((got - want).abs() < 1e-6);
        }
        // A picture without a seed for its variation has seed 0.
        for (got, want) in varied(1.0)[120..].iter().zip(Philox::new(0).normals(120)) {
            assert!((got - want).abs() < 1e-6);
        }
        let half = varied(0.5);
        let square = half.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 240.0;
        assert!((0.7..1.4).contains(&square), "{square}");
        assert_ne!(half, plain);
    }

    #[test]
    fn later_draws_know_nothing_of_variation_and_size() {
        let mut plain = source(|_| ());
        let mut other = source(|request| {
            request.variation = Some(Variation {
                seeds: vec![1, 2],
                strength: 0.3,
            });
            request.resize_from = [24, 64];
        });
        assert_ne!(plain.draw(), other.draw());
        assert_eq!(plain.draw(), other.draw());
    }

    #[test]
    fn noise_of_another_size_is_in_the_middle() {
        let noise = source(|request| {
            request.seeds = vec![5];
            request.resize_from = [3 * 8 + 7, 8 * 8];
        })
        .draw();
        let (inner, ground) = (
            Philox::new(5).normals(4 * 3 * 8),
            Philox::new(5).normals(120),
        );
        for (place, &value) in noise.iter().enumerate() {
            let (channel, row, column) = (place / 30, place / 5 % 6, place % 5);
            // Three rows fit and go below the first; of eight columns the middle four remain.
            let is_inner = (1..4).contains(&row) && column < 4;
            let expected = if is_inner {
                inner[(channel * 3 + row - 1) * 8 + column + 2]
            } else {
                ground[place]
            };
            assert_eq!(value, expected, "{channel} {row} {column}");
        }
    }

    #[test]
    fn any_two_sizes_fit() {
        for size in 1..12 {
            for from in 0..40 {
                let (to, start, count) = span(size, from);
                assert!(to + count <= size && start + count <= from, "{size} {from}");
                assert!(count + 1 >= size.min(from));
            }
        }
    }

    #[test]
    fn columns_of_one_value_give_numbers() {
        for shape in [[4, 1, 5], [1, 1, 1], [4, 5, 1]] {
            let noise = source(|request| {
                request.shape = shape;
                request.variation = Some(Variation {
                    seeds: vec![3],
                    strength: 0.4,
                });
            })
            .draw();
            assert!(noise.iter().all(|value| value.is_finite()));
        }
        // The same seed twice is the same noise.
        let noise = source(|request| {
            request.variation = Some(Variation {
                seeds: vec![11, 12],
                strength: 0.4,
            });
        })
        .draw();
        for (got, want) in noise.iter().zip(source(|_| ()).draw()) {
            assert!((got - want).abs() < 1e-6);
        }
    }

    #[test]
    fn noises_that_are_nearly_the_same_are_mixed_straight_with_exchanged_weights() {
        let low = Philox::new(1).normals(120);
        let high: Vec<f32> = low.iter().map(|value| value + 0.01).collect();
        for (got, low) in mix(&low, &high, [4, 6, 5], 0.25).into_iter().zip(low) {
            assert!((got - (low + 0.0075)).abs() < 1e-6);
        }
    }

    #[test]
    fn sizes_are_bounded_before_anything_is_made() {
        let tall = [1, usize::MAX, 2];
        for (shape, pictures) in [
            ([4, 0, 4], 1),
            ([4, 8, 8], 0),
            (tall, 1),
            ([4, 1 << 14, 1 << 14], 1),
        ] {
            let request = NoiseRequest::new(shape, vec![0; pictures]);
            assert!(matches!(
                NoiseSource::new(request),
                Err(SamplingError::NoiseSize { .. })
            ));
        }
        let mut request = NoiseRequest::new([4, 8, 8], vec![0]);
        request.resize_from = [i64::MAX; 2];
        assert!(matches!(
            NoiseSource::new(request.clone()),
            Err(SamplingError::NoiseSize { .. })
        ));
        request.resize_from = [i64::MIN, 64];
        request.variation = Some(Variation {
            seeds: vec![],
            strength: f64::NAN,
        });
        assert!(matches!(
            NoiseSource::new(request),
            Err(SamplingError::Setting { .. })
        ));
    }

    #[test]
    fn seeds_are_counted_up_unless_pictures_are_varied() {
        assert_eq!(seeds(5, 3, 0.0), [5, 6, 7]);
        assert_eq!(seeds(5, 3, 0.1), [5, 5, 5]);
        assert_eq!(seeds(i64::MAX, 2, 0.0), [i64::MAX, i64::MIN]);
    }
}
