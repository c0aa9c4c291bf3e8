//! The way back against differences of plain loops in 64-bit floats, or against its formulas.

mod attention;

use self::attention::undo_attention;
use super::*;
use crate::models::cpu::tests::{erf, noise};
use crate::models::cpu::{Shape, Sizes, Window};

/// The largest difference must be below `tolerance` times the largest number.
fn close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-30f64, |most, x| most.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let gap = (f64::from(*found) - expected).abs();
        assert!(
            gap <= tolerance * scale,
            "{what}: {found} is not {expected} at {i}"
        );
    }
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|x| f64::from(*x)).collect()
}

/// How much `Σ gradient * forward(input)` grows with each number of the input.
fn slopes(input: &[f32], gradient: &[f32], forward: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut input = wide(input);
    let gradient = wide(gradient);
    let loss = |input: &[f64]| {
        let out = forward(input);
        assert_eq!(out.len(), gradient.len());
        out.iter().zip(&gradient).map(|(a, b)| a * b).sum::<f64>()
    };
    (0..input.len())
        .map(|i| {
            let (x, step) = (input[i], 1e-5);
            input[i] = x + step;
            let above = loss(&input);
            input[i] = x - step;
            let below = loss(&input);
            input[i] = x;
            (above - below) / (2.0 * step)
        })
        .collect()
}

/// Normalizes the numbers at some places.
fn normalize(numbers: &mut [f64], places: &[usize]) {
    let count = places.len() as f64;
    let mean = places.iter().map(|&i| numbers[i]).sum::<f64>() / count;
    let square: f64 = places.iter().map(|&i| (numbers[i] - mean).powi(2)).sum();
    let inverse = 1.0 / (square / count + 1e-5).sqrt();
    for &i in places {
        numbers[i] = (numbers[i] - mean) * inverse;
    }
}

#[test]
fn group_norm_is_undone_at_any_size_and_far_from_zero() {
    for ([batch, pixels, channels], groups) in [
        ([2, 5, 12], 3),
        ([1, 1, 10], 2),
        ([1, 3, 70], 7),
        ([2, 3, 130], 13),
        ([1, 6, 33], 1),
    ] {
        for (offset, tolerance) in [(0.0, 1e-5), (300.0, 1e-3)] {
            for silu in [false, true] {
                let count = batch * pixels * channels;
                let mut input = noise(count, 31);
                for x in &mut input {
                    *x += offset;
                }
                let gradient = noise(count, 32);
                let (scale, shift) = (noise(channels, 33), noise(channels, 34));
                let width = channels / groups;
                let forward = |input: &[f64]| {
                    let mut out = input.to_vec();
                    for n in 0..batch {
                        for group in 0..groups {
                            let places: Vec<usize> = (0..pixels * width)
                                .map(|i| {
                                    let pixel = n * pixels + i / width;
                                    pixel * channels + group * width + i % width
                                })
                                .collect();
                            normalize(&mut out, &places);
                        }
                    }
                    for (i, x) in out.iter_mut().enumerate() {
                        let c = i % channels;
                        *x = *x * f64::from(scale[c]) + f64::from(shift[c]);
                        if silu {
                            *x /= 1.0 + (-*x).exp();
                        }
                    }
                    out
                };
                let expected = slopes(&input, &gradient, forward);
                let mut out = vec![f32::NAN; count];
                group_norm_back(
                    &input,
                    &gradient,
                    [batch, pixels, channels],
                    groups,
                    [&scale, &shift],
                    1e-5,
                    silu,
                    &mut out,
                );
                let what = format!("{batch}x{pixels}x{channels} around {offset}, SiLU {silu}");
                close(&out, &expected, tolerance, &what);
            }
        }
    }
}

#[test]
fn layer_norm_is_undone_at_any_size_and_far_from_zero() {
    for [tokens, channels] in [[1, 5], [5, 7], [3, 17], [2, 130], [1, 320]] {
        for (offset, tolerance) in [(0.0, 1e-5), (100.0, 1e-3)] {
            let mut input = noise(tokens * channels, 35);
            for x in &mut input {
                *x += offset;
            }
            let gradient = noise(input.len(), 36);
            let scale = noise(channels, 37);
            let forward = |input: &[f64]| {
                let mut out = input.to_vec();
                for token in 0..tokens {
                    let places: Vec<usize> = (token * channels..(token + 1) * channels).collect();
                    normalize(&mut out, &places);
                }
                for (i, x) in out.iter_mut().enumerate() {
                    *x *= f64::from(scale[i % channels]);
                }
                out
            };
            let expected = slopes(&input, &gradient, forward);
            let mut out = vec![f32::NAN; input.len()];
            layer_norm_back(&input, &gradient, &scale, 1e-5, &mut out);
            let what = format!("{tokens}x{channels} around {offset}");
            close(&out, &expected, tolerance, &what);
        }
    }
}

#[test]
fn activations_are_undone_over_the_whole_range() {
    let mut input: Vec<f32> = (-2000..=2000).map(|i| i as f32 / 100.0).collect();
    input.extend([0.0, -0.0, 1e-30, 1e30, -1e30]);
    let ones = vec![1.0; input.len()];
    let mut out = vec![f32::NAN; input.len()];
    quick_gelu_back(&input, &ones, &mut out);
    for (x, found) in input.iter().zip(&out) {
        let x = 1.702 * f64::from(*x);
        let share = 1.0 / (1.0 + (-x).exp());
        let expected = share + x * share * (1.0 - share);
        let gap = (f64::from(*found) - expected).abs();
        assert!(gap < 2e-6, "quick GELU at {x}: {found}");
    }
    let gates: Vec<f32> = input.iter().flat_map(|&x| [1.0, x]).collect();
    let mut out = vec![f32::NAN; gates.len()];
    gated_gelu_back(&gates, &ones, 1, &mut out);
    for (x, found) in input.iter().zip(out.chunks_exact(2)) {
        let x = f64::from(*x);
        let normal = 0.5 * (1.0 + erf(x / 2f64.sqrt()));
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let gap = (f64::from(found[0]) - x * normal).abs();
        assert!(gap < 4e-7 * x.abs().max(1e-30), "GELU of {x}: {found:?}");
        let gap = (f64::from(found[1]) - normal - x * density).abs();
        assert!(gap < 2e-6, "GELU at {x}: {found:?}");
    }
}

#[test]
fn gates_find_their_partners_on_the_way_back() {
    for width in [1, 5, 33, 40] {
        let input = noise(3 * 2 * width, 38);
        let gradient = noise(3 * width, 39);
        let forward = |input: &[f64]| {
            (0..3 * width)
                .map(|i| {
                    let place = i / width * 2 * width + i % width;
                    let x = input[place + width];
                    input[place] * 0.5 * x * (1.0 + erf(x / 2f64.sqrt()))
                })
                .collect()
        };
        let expected = slopes(&input, &gradient, forward);
        let mut out = vec![f32::NAN; input.len()];
        gated_gelu_back(&input, &gradient, width, &mut out);
        close(&out, &expected, 1e-5, "gated GELU");
    }
}

#[test]
fn filters_are_undone_for_any_window() {
    let same = Window::same(3);
    let windows = [
        same,
        Window::same(1),
        Window { stride: 2, ..same },
        Window {
            stride: 2,
            before: 0,
            after: 1,
            ..same
        },
        Window {
            before: 0,
            after: 2,
            ..same
        },
        Window {
            stride: 2,
            ..Window::same(1)
        },
    ];
    for (i, window) in windows.into_iter().enumerate() {
        for [batch, height, width, channels, outputs] in [
            [1, 1, 1, 1, 1],
            [2, 5, 7, 4, 20],
            [1, 8, 8, 3, 65],
            [2, 9, 6, 33, 48],
            [1, 13, 17, 36, 3],
            [1, 4, 3, 18, 160],
            [2, 7, 8, 96, 64],
        ] {
            let shape = Shape {
                batch,
                height,
                width,
                channels,
            };
            let taps = window.kernel * window.kernel;
            let weight = noise(outputs * channels * taps, 44);
            let to = [window.output(height), window.output(width)];
            let gradient = noise(batch * to[0] * to[1] * outputs, 45);
            let mut expected = vec![0.0; shape.count()];
            for (pixel, gradient) in gradient.chunks_exact(outputs).enumerate() {
                let (x, above) = (pixel % to[1], pixel / to[1]);
                let (y, n) = (above % to[0], above / to[0]);
                for tap in 0..taps {
                    let y = (y * window.stride + tap / window.kernel).wrapping_sub(window.before);
                    let x = (x * window.stride + tap % window.kernel).wrapping_sub(window.before);
                    if y >= height || x >= width {
                        continue;
                    }
                    let place = ((n * height + y) * width + x) * channels;
                    for (output, gradient) in gradient.iter().enumerate() {
                        for c in 0..channels {
                            let weight = weight[(output * channels + c) * taps + tap];
                            expected[place + c] += f64::from(*gradient) * f64::from(weight);
                        }
                    }
                }
            }
            let mut out = vec![f32::NAN; shape.count()];
            BackFilter::new(&weight, outputs, channels, window).run(&gradient, shape, &mut out);
            let what = format!("window {i} of {shape:?} to {outputs}");
            close(&out, &expected, 5e-6, &what);
        }
    }
}

#[test]
fn adamw_moves_parameters_as_its_formula_does() {
    for count in [1, 17, 70_000] {
        let start = noise(count, 46);
        let mut expected = wide(&start);
        let mut means = vec![[0.0f64; 2]; count];
        let (mut found, mut first, mut second) = (start, vec![0.0; count], vec![0.0; count]);
        for number in 1..=5 {
            let gradient = noise(count, 47 + u64::from(number));
            let step = AdamStep {
                rate: 0.01,
                betas: [0.9, 0.999],
                epsilon: 1e-8,
                decay: 0.1,
                number,
                factor: 0.5,
            };
            adamw(&mut found, &gradient, &mut first, &mut second, &step);
            for ((x, means), gradient) in expected.iter_mut().zip(&mut means).zip(&gradient) {
                let gradient = 0.5 * f64::from(*gradient);
                *x *= 1.0 - 0.01 * 0.1;
                means[0] = 0.9 * means[0] + 0.1 * gradient;
                means[1] = 0.999 * means[1] + 0.001 * gradient * gradient;
                let mean = means[0] / (1.0 - 0.9f64.powi(number as i32));
                let square = means[1] / (1.0 - 0.999f64.powi(number as i32));
                *x -= 0.01 * mean / (square.sqrt() + 1e-8);
            }
        }
        close(&found, &expected, 1e-6, "AdamW");
    }
}

#[test]
fn squares_are_summed_over_all_numbers() {
    for count in [0, 1, 33, 100_001] {
        let numbers = noise(count, 50);
        let expected: f64 = wide(&numbers).iter().map(|x| x * x).sum();
        let found = sum_of_squares(&numbers);
        assert!((found - expected).abs() <= 1e-6 * expected, "{count}");
    }
}

/// Runs all that cuts its work into pieces.
fn everything() -> Vec<Vec<f32>> {
    let shape = Shape {
        batch: 2,
        height: 26,
        width: 23,
        channels: 96,
    };
    let (input, gradient) = (noise(shape.count(), 51), noise(shape.count(), 52));
    let pixels = shape.height * shape.width;
    let weight = noise(96 * 96 * 9, 53);
    let affine = [&weight[..96], &weight[96..192]];
    let mut outs = Vec::new();
    let mut out = vec![f32::NAN; input.len()];
    let sizes = [2, pixels, 96];
    group_norm_back(&input, &gradient, sizes, 32, affine, 1e-5, true, &mut out);
    outs.push(out.clone());
    layer_norm_back(&input, &gradient, affine[0], 1e-5, &mut out);
    outs.push(out.clone());
    BackFilter::new(&weight, 96, 96, Window::same(3)).run(&gradient, shape, &mut out);
    outs.push(out.clone());
    gated_gelu_back(&input, &gradient[..input.len() / 2], 48, &mut out);
    outs.push(out);
    let sizes = Sizes {
        batch: 2,
        queries: pixels,
        keys: pixels,
        heads: 2,
        head: 48,
    };
    outs.extend(undo_attention(
        [&input, &input, &input, &gradient],
        sizes,
        false,
    ));
    outs.push(vec![sum_of_squares(&gradient) as f32]);
    outs
}

#[test]
fn no_gradient_depends_on_threads() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads start");
        pool.install(everything)
    };
    let alone = on(1);
    for threads in [2, 5] {
        assert!(alone == on(threads), "{threads} threads");
    }
}
