//! Latent pictures brought to another size, as PyTorch's `interpolate` does it without aligned corners.

use super::artist::Latents;

/// How values between those that are there are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// That whose place it is, counted from the first edge.
    Nearest,
    /// That whose middle is nearest.
    NearestExact,
    /// In straight lines.
    Linear,
    /// In straight lines, over all values that fall together where it becomes smaller.
    LinearSmooth,
    /// By a cubic convolution with a slope of -0.75.
    Cubic,
    /// By one with a slope of -0.5, over all values that fall together where it becomes smaller.
    CubicSmooth,
}

/// The latent pictures in another size, of one row and column at least.
pub(super) fn resample(
    latents: &Latents,
    rows: usize,
    columns: usize,
    how: Interpolation,
) -> Latents {
    let [pictures, channels, height, width] = latents.sizes;
    let (rows, columns) = (rows.max(1), columns.max(1));
    let across = taps(how, width, columns);
    let down = taps(how, height, rows);
    let mut numbers = Vec::with_capacity(pictures * channels * rows * columns);
    let mut wide = Vec::with_capacity(height * columns);
    for plane in latents.numbers.chunks_exact((height * width).max(1)) {
        wide.clear();
        for row in plane.chunks_exact(width) {
            wide.extend(across.iter().map(|taps| sum(taps, |place| row[place])));
        }
        for taps in &down {
            numbers.extend((0..columns).map(|x| sum(taps, |place| wide[place * columns + x])));
        }
    }
    Latents {
        sizes: [pictures, channels, rows, columns],
        numbers,
    }
}

/// Rows and columns cut off at the beginning and at the end of each side.
pub(super) fn crop(latents: &Latents, rows: [usize; 2], columns: [usize; 2]) -> Latents {
    let [pictures, channels, height, width] = latents.sizes;
    let kept = |cut: [usize; 2], side: usize| {
        let start = cut[0].min(side.saturating_sub(1));
        start..side.saturating_sub(cut[1]).max(start + 1)
    };
    let (rows, columns) = (kept(rows, height), kept(columns, width));
    let mut numbers = Vec::new();
    for plane in latents.numbers.chunks_exact((height * width).max(1)) {
        for row in plane.chunks_exact(width).skip(rows.start).take(rows.len()) {
            numbers.extend_from_slice(&row[columns.clone()]);
        }
    }
    Latents {
        sizes: [pictures, channels, rows.len(), columns.len()],
        numbers,
    }
}

/// The same latent picture several times.
pub(super) fn repeat(latents: &Latents, times: usize) -> Latents {
    let mut sizes = latents.sizes;
    sizes[0] *= times;
    Latents {
        sizes,
        numbers: latents.numbers.repeat(times),
    }
}

/// Places and weights that make up one value.
type Taps = Vec<(usize, f64)>;

fn sum(taps: &Taps, value: impl Fn(usize) -> f32) -> f32 {
    let values = taps
        .iter()
        .map(|(place, weight)| f64::from(value(*place)) * weight);
    values.sum::<f64>() as f32
}

fn taps(how: Interpolation, from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    (0..to)
        .map(|at| taps_at(how, at as f64, from, scale))
        .collect()
}

fn taps_at(how: Interpolation, at: f64, from: usize, scale: f64) -> Taps {
    let last = from.saturating_sub(1);
    let middle = (at + 0.5) * scale;
    let inside = |place: i64| place.clamp(0, last as i64) as usize;
    match how {
        Interpolation::Nearest => vec![(((at * scale) as usize).min(last), 1.0)],
        Interpolation::NearestExact => vec![((middle as usize).min(last), 1.0)],
        Interpolation::Linear => {
            let place = (middle - 0.5).max(0.0);
            let share = place.fract();
            let low = place as i64;
            vec![(inside(low), 1.0 - share), (inside(low + 1), share)]
        }
        Interpolation::Cubic => {
            let low = (middle - 0.5).floor();
            let share = middle - 0.5 - low;
            (-1..=2)
                .map(|step| {
                    let distance = (f64::from(step) - share).abs();
                    (inside(low as i64 + i64::from(step)), cubic(distance, -0.75))
                })
                .collect()
        }
        Interpolation::LinearSmooth => smooth(middle, from, scale, 1.0, |distance| {
            (1.0 - distance).max(0.0)
        }),
        Interpolation::CubicSmooth => {
            smooth(middle, from, scale, 2.0, |distance| cubic(distance, -0.5))
        }
    }
}

/// Weights of all places within reach of the middle; beyond the ends there is nothing.
fn smooth(middle: f64, from: usize, scale: f64, reach: f64, weight: impl Fn(f64) -> f64) -> Taps {
    let scale = scale.max(1.0);
    let reach = reach * scale;
    let start = (middle - reach + 0.5).max(0.0) as usize;
    let end = ((middle + reach + 0.5) as usize).min(from);
    let mut taps: Taps = (start..end)
        .map(|place| (place, weight(((place as f64 - middle + 0.5) / scale).abs())))
        .collect();
    let total: f64 = taps.iter().map(|(_, weight)| weight).sum();
    for (_, weight) in &mut taps {
        *weight /= total;
    }
    taps
}

/// Keys' convolution (1981).
fn cubic(distance: f64, slope: f64) -> f64 {
    if distance < 1.0 {
        ((slope + 2.0) * distance - (slope + 3.0)) * distance * distance + 1.0
    } else if distance < 2.0 {
        ((slope * distance - 5.0 * slope) * distance + 8.0 * slope) * distance - 4.0 * slope
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels of 3 rows and 4 columns, the values that `torch.arange(24) ** 1.5` has.
    fn latents() -> Latents {
        Latents {
            sizes: [1, 2, 3, 4],
            numbers: (0..24).map(|n| (f64::from(n)).powf(1.5) as f32).collect(),
        }
    }

    #[test]
    fn values_are_those_of_pytorch() {
        for (how, first) in REFERENCE {
            let grown = resample(&latents(), 5, 6, how);
            assert_eq!(grown.sizes, [1, 2, 5, 6]);
            for (got, want) in grown.numbers[6..12].iter().zip(first) {
                assert!((got - want).abs() < 1e-4, "{how:?}: {got} and not {want}");
            }
        }
        for (how, first) in SMALLER {
            let shrunk = resample(&latents(), 2, 2, how);
            for (got, want) in shrunk.numbers.iter().zip(first) {
                assert!((got - want).abs() < 1e-4, "{how:?}: {got} and not {want}");
            }
        }
    }

    /// By PyTorch 2: the second row of `interpolate` to 5 rows and 6 columns, and all of 2 by 2.
    const REFERENCE: [(Interpolation, [f32; 6]); 6] = [
        (
            Interpolation::Nearest,
            [0.0, 0.0, 1.0, 2.82843, 2.82843, 5.19615],
        ),
        (
            Interpolation::NearestExact,
            [0.0, 1.0, 1.0, 2.82843, 5.19615, 5.19615],
        ),
        (
            Interpolation::Linear,
            [3.2, 4.13607, 5.48942, 7.15855, 9.05081, 10.5258],
        ),
        (
            Interpolation::LinearSmooth,
            [3.2, 4.13607, 5.48942, 7.15855, 9.05081, 10.5258],
        ),
        (
            Interpolation::Cubic,
            [1.89804, 2.70554, 4.25912, 5.65225, 7.86904, 9.32068],
        ),
        (
            Interpolation::CubicSmooth,
            [2.03842, 2.81689, 4.21403, 5.80392, 7.87208, 9.25154],
        ),
    ];
    const SMALLER: [(Interpolation, [f32; 8]); 6] = [
        (
            Interpolation::Nearest,
            [
                0.0, 2.82843, 8.0, 14.69694, 41.56922, 52.3832, 64.0, 76.36753,
            ],
        ),
        (
            Interpolation::NearestExact,
            [
                1.0, 5.19615, 27.0, 36.48287, 46.87217, 58.09475, 96.23409, 110.30412,
            ],
        ),
        (
            Interpolation::Linear,
            [
                2.77254, 7.16137, 21.00782, 29.69177, 49.92712, 61.32755, 86.3904, 99.95831,
            ],
        ),
        (
            Interpolation::LinearSmooth,
            [
                4.39029, 8.17615, 19.98641, 26.59072, 54.00848, 63.11586, 84.58993, 95.11656,
            ],
        ),
        (
            Interpolation::Cubic,
            [
                1.82066, 6.45649, 21.26875, 30.95891, 47.95475, 60.33278, 87.15727, 102.09102,
            ],
        ),
        (
            Interpolation::CubicSmooth,
            [
                3.23161, 7.47033, 20.20476, 28.06066, 51.65648, 62.15696, 85.30165, 97.62381,
            ],
        ),
    ];

    #[test]
    fn the_same_size_is_the_same_picture() {
        for (how, _) in REFERENCE {
            let same = resample(&latents(), 3, 4, how);
            for (got, want) in same.numbers.iter().zip(latents().numbers) {
                assert!((got - want).abs() < 1e-5, "{how:?}");
            }
        }
    }

    #[test]
    fn a_crop_keeps_the_middle_and_always_something() {
        let cut = crop(&latents(), [1, 1], [1, 2]);
        assert_eq!((cut.sizes, cut.numbers.len()), ([1, 2, 1, 1], 2));
        assert_eq!(cut.numbers[0], latents().numbers[5]);
        assert_eq!(crop(&latents(), [9, 9], [0, 9]).sizes, [1, 2, 1, 1]);
        assert_eq!(repeat(&latents(), 3).sizes, [3, 2, 3, 4]);
    }
}
