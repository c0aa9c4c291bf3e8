//! The kernels against plain loops in 64-bit floats.

use super::*;

/// Numbers between -1 and 1 that look random.
pub fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The largest difference must be below `tolerance` times the larger of 1 and the largest number.
fn close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1.0f64, |most, x| most.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let gap = (f64::from(*found) - expected).abs();
        assert!(
            gap <= tolerance * scale,
            "{what}: {found} is not {expected} at {i}"
        );
    }
}

fn product(input: &[f32], weight: &[f32], [rows, inputs, outputs]: [usize; 3]) -> Vec<f64> {
    let mut out = Vec::new();
    for row in 0..rows {
        for output in 0..outputs {
            let terms = (0..inputs).map(|i| {
                f64::from(input[row * inputs + i]) * f64::from(weight[output * inputs + i])
            });
            out.push(terms.sum());
        }
    }
    out
}

#[test]
fn a_matrix_is_the_sum_of_its_products_at_any_size() {
    for [rows, inputs, outputs] in [
        [1, 1, 1],
        [7, 5, 3],
        [13, 33, 17],
        [77, 768, 320],
        [197, 1281, 130],
        [64, 2561, 81],
        [5, 700, 63],
        [400, 40, 48],
    ] {
        let what = format!("{rows}x{inputs}x{outputs}");
        let (input, weight) = (noise(rows * inputs, 1), noise(outputs * inputs, 2));
        let (bias, residual) = (noise(outputs, 3), noise(rows * outputs, 4));
        let mut expected = product(&input, &weight, [rows, inputs, outputs]);
        let mut out = vec![f32::NAN; rows * outputs];
        Matrix::new(&weight, outputs, inputs, None).run(&input, None, &mut out);
        close(&out, &expected, 2e-6, &what);
        for (i, sum) in expected.iter_mut().enumerate() {
            *sum += f64::from(bias[i % outputs]) + f64::from(residual[i]);
        }
        Matrix::new(&weight, outputs, inputs, Some(&bias)).run(&input, Some(&residual), &mut out);
        close(&out, &expected, 2e-6, &what);
    }
}

fn convolution(input: &[f32], shape: Shape, weight: &[f32], to: Shape, window: Window) -> Vec<f64> {
    let mut out = Vec::new();
    let factor = if window.doubled { 2 } else { 1 };
    for i in 0..to.count() {
        let (pixel, output) = (i / to.channels, i % to.channels);
        let (x, above) = (pixel % to.width, pixel / to.width);
        let (y, n) = (above % to.height, above / to.height);
        let mut sum = 0.0;
        for ky in 0..window.kernel {
            for kx in 0..window.kernel {
                let (y, x) = (y * window.stride + ky, x * window.stride + kx);
                if y < window.before || x < window.before {
                    continue;
                }
                let (y, x) = ((y - window.before) / factor, (x - window.before) / factor);
                if y >= shape.height || x >= shape.width {
                    continue;
                }
                for c in 0..shape.channels {
                    let at = ((n * shape.height + y) * shape.width + x) * shape.channels + c;
                    let tap = (output * shape.channels + c) * window.kernel + ky;
                    sum += f64::from(input[at]) * f64::from(weight[tap * window.kernel + kx]);
                }
            }
        }
        out.push(sum);
    }
    out
}

#[test]
fn a_filter_is_the_sum_of_its_taps_at_any_size() {
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
            doubled: true,
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
            [2, 9, 6, 130, 33],
            [1, 13, 17, 36, 3],
            [1, 4, 3, 1290, 18],
            [2, 7, 9, 96, 72],
            [1, 16, 15, 704, 35],
        ] {
            let shape = Shape {
                batch,
                height,
                width,
                channels,
            };
            let taps = window.kernel * window.kernel;
            let (input, weight) = (noise(shape.count(), 5), noise(outputs * channels * taps, 6));
            let bias = noise(outputs, 7);
            let filter = Filter::new(&weight, outputs, channels, Some(&bias), window);
            let to = filter.output(shape);
            let residual = noise(to.count(), 8);
            let mut expected = convolution(&input, shape, &weight, to, window);
            for (i, sum) in expected.iter_mut().enumerate() {
                *sum += f64::from(bias[i % outputs]) + f64::from(residual[i]);
            }
            let mut out = vec![f32::NAN; to.count()];
            filter.run(&input, shape, Some(&residual), &mut out);
            close(
                &out,
                &expected,
                2e-6,
                &format!("window {i} of {shape:?} to {outputs}"),
            );
        }
    }
}

fn attend(q: &[f32], k: &[f32], v: &[f32], sizes: Sizes, causal: bool) -> Vec<f64> {
    let channels = sizes.heads * sizes.head;
    let mut out = vec![0.0; q.len()];
    for n in 0..sizes.batch {
        for head in 0..sizes.heads {
            for i in 0..sizes.queries {
                let seen = if causal {
                    sizes.keys.min(i + 1)
                } else {
                    sizes.keys
                };
                let place = (n * sizes.queries + i) * channels + head * sizes.head;
                let at = |j: usize| (n * sizes.keys + j) * channels + head * sizes.head;
                let scores: Vec<f64> = (0..seen)
                    .map(|j| {
                        let terms = (0..sizes.head)
                            .map(|c| f64::from(q[place + c]) * f64::from(k[at(j) + c]));
                        terms.sum::<f64>() / (sizes.head as f64).sqrt()
                    })
                    .collect();
                let best = scores
                    .iter()
                    .fold(f64::NEG_INFINITY, |best, &x| best.max(x));
                let total: f64 = scores.iter().map(|x| (x - best).exp()).sum();
                for c in 0..sizes.head {
                    let terms = scores
                        .iter()
                        .enumerate()
                        .map(|(j, x)| (x - best).exp() / total * f64::from(v[at(j) + c]));
                    out[place + c] = terms.sum();
                }
            }
        }
    }
    out
}

#[test]
fn attention_is_the_weighted_mean_of_values_at_any_size() {
    for [batch, queries, keys, heads, head] in [
        [1, 1, 1, 1, 1],
        [2, 77, 77, 3, 64],
        [1, 130, 300, 2, 40],
        [2, 65, 77, 2, 80],
        [1, 33, 129, 1, 160],
        [1, 17, 260, 3, 12],
        [1, 9, 5, 2, 4],
        [1, 20, 257, 2, 8],
        [1, 70, 131, 1, 512],
    ] {
        for (causal, factor) in [(false, 1.0), (true, 1.0), (false, 20.0), (true, 20.0)] {
            let sizes = Sizes {
                batch,
                queries,
                keys,
                heads,
                head,
            };
            let channels = heads * head;
            let mut q = noise(batch * queries * channels, 9);
            for x in &mut q {
                *x *= factor;
            }
            let k = noise(batch * keys * channels, 10);
            let v = noise(batch * keys * channels, 11);
            let expected = attend(&q, &k, &v, sizes, causal);
            let mut out = vec![f32::NAN; q.len()];
            attention(&q, &k, &v, sizes, causal, &mut out);
            let tolerance = if factor > 1.0 { 2e-5 } else { 1e-6 };
            close(
                &out,
                &expected,
                tolerance,
                &format!("{sizes:?}, causal {causal}"),
            );
        }
    }
}

#[test]
fn group_norm_has_mean_zero_and_variance_one_even_far_from_zero() {
    for ([batch, pixels, channels], groups) in [
        ([2, 35, 12], 3),
        ([1, 1, 4], 2),
        ([1, 700, 320], 32),
        ([2, 100, 130], 13),
        ([1, 9, 64], 1),
    ] {
        for (offset, tolerance) in [(0.0, 3e-6), (1000.0, 2e-4)] {
            for silu in [false, true] {
                let mut input = noise(batch * pixels * channels, 12);
                for x in &mut input {
                    *x += offset;
                }
                let (scale, shift) = (noise(channels, 13), noise(channels, 14));
                let mut expected = vec![0.0; input.len()];
                let width = channels / groups;
                for n in 0..batch {
                    for group in 0..groups {
                        let places: Vec<usize> = (0..pixels * width)
                            .map(|i| {
                                (n * pixels + i / width) * channels + group * width + i % width
                            })
                            .collect();
                        let count = places.len() as f64;
                        let mean = places.iter().map(|&i| f64::from(input[i])).sum::<f64>() / count;
                        let square: f64 = places
                            .iter()
                            .map(|&i| (f64::from(input[i]) - mean).powi(2))
                            .sum();
                        let inverse = 1.0 / (square / count + 1e-5).sqrt();
                        for i in places {
                            let c = i % channels;
                            let x = (f64::from(input[i]) - mean) * inverse * f64::from(scale[c])
                                + f64::from(shift[c]);
                            expected[i] = if silu { x / (1.0 + (-x).exp()) } else { x };
                        }
                    }
                }
                let mut out = vec![f32::NAN; input.len()];
                let sizes = [batch, pixels, channels];
                group_norm(
                    &input,
                    sizes,
                    groups,
                    [&scale, &shift],
                    1e-5,
                    silu,
                    &mut out,
                );
                close(
                    &out,
                    &expected,
                    tolerance,
                    &format!("{sizes:?} around {offset}"),
                );
            }
        }
    }
}

#[test]
fn layer_norm_has_mean_zero_and_variance_one_even_far_from_zero() {
    for [tokens, channels] in [[1, 1], [5, 7], [77, 768], [300, 321], [3, 17]] {
        for (offset, tolerance) in [(0.0, 3e-6), (100.0, 5e-5)] {
            let mut input = noise(tokens * channels, 15);
            for x in &mut input {
                *x += offset;
            }
            let (scale, shift) = (noise(channels, 16), noise(channels, 17));
            let mut expected = Vec::new();
            for token in input.chunks_exact(channels) {
                let count = channels as f64;
                let mean = token.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
                let square: f64 = token.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
                let inverse = 1.0 / (square / count + 1e-5).sqrt();
                for (i, &x) in token.iter().enumerate() {
                    let x = (f64::from(x) - mean) * inverse;
                    expected.push(x * f64::from(scale[i]) + f64::from(shift[i]));
                }
            }
            let mut out = vec![f32::NAN; input.len()];
            layer_norm(&input, [&scale, &shift], 1e-5, &mut out);
            close(
                &out,
                &expected,
                tolerance,
                &format!("{tokens}x{channels} around {offset}"),
            );
        }
    }
}

/// `erf` by its series, or by the continued fraction of `erfc` where that is shorter.
pub fn erf(x: f64) -> f64 {
    if x.abs() > 3.0 {
        let mut fraction = 0.0;
        for k in (1..200).rev() {
            fraction = f64::from(k) / 2.0 / (x.abs() + fraction);
        }
        let rest = (-x * x).exp() / std::f64::consts::PI.sqrt() / (x.abs() + fraction);
        return x.signum() * (1.0 - rest);
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..100 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn ladder() -> Vec<f32> {
    let mut input: Vec<f32> = (-90_000..=90_000).map(|i| i as f32 / 1000.0).collect();
    input.extend([0.0, -0.0, 1e-30, -1e-30, 1e30, -1e30, 3.4e38, -3.4e38]);
    input
}

#[test]
fn activations_keep_their_accuracy_over_the_whole_range() {
    let input = ladder();
    let mut out = vec![f32::NAN; input.len()];
    silu(&input, &mut out);
    for (x, found) in input.iter().zip(&out) {
        let x = f64::from(*x);
        let expected = x / (1.0 + (-x).exp());
        let room = 4e-7 * expected.abs() + 1e-30 * x.abs() + 1e-37;
        assert!(
            (f64::from(*found) - expected).abs() <= room,
            "silu of {x}: {found}"
        );
    }
    quick_gelu(&input, &mut out);
    for (x, found) in input.iter().zip(&out) {
        let x = f64::from(*x);
        let expected = x / (1.0 + (-1.702 * x).exp());
        let room = 8e-6 * expected.abs() + 1e-30 * x.abs() + 1e-37;
        assert!(
            (f64::from(*found) - expected).abs() <= room,
            "quick GELU of {x}: {found}"
        );
    }
    let gates: Vec<f32> = input.iter().flat_map(|&x| [1.0, x]).collect();
    gated_gelu(&gates, 1, &mut out);
    for (x, found) in input.iter().zip(&out) {
        let x = f64::from(*x);
        let expected = 0.5 * x * (1.0 + erf(x / 2f64.sqrt()));
        let room = 4e-7 * x.abs().max(1e-30);
        assert!(
            (f64::from(*found) - expected).abs() <= room,
            "GELU of {x}: {found}"
        );
    }
}

#[test]
fn gates_and_joined_channels_find_their_partners() {
    for width in [1, 5, 33, 40] {
        let input = noise(7 * 2 * width, 18);
        let mut out = vec![f32::NAN; 7 * width];
        gated_gelu(&input, width, &mut out);
        let expected: Vec<f64> = (0..7 * width)
            .map(|i| {
                let place = i / width * 2 * width + i % width;
                let x = f64::from(input[place + width]);
                f64::from(input[place]) * 0.5 * x * (1.0 + erf(x / 2f64.sqrt()))
            })
            .collect();
        close(&out, &expected, 1e-6, "gated GELU");
    }
    let (a, b) = (noise(9000 * 3, 21), noise(9000 * 5, 22));
    let mut out = vec![f32::NAN; 9000 * 8];
    concat_channels(&a, &b, [3, 5], &mut out);
    for (i, pixel) in out.chunks_exact(8).enumerate() {
        assert_eq!(pixel[..3], a[3 * i..3 * i + 3]);
        assert_eq!(pixel[3..], b[5 * i..5 * i + 5]);
    }
}

/// Runs everything on pictures of which the second is given.
fn everything(second: Option<f32>) -> Vec<Vec<f32>> {
    let batch = if second.is_some() { 2 } else { 1 };
    let shape = Shape {
        batch,
        height: 19,
        width: 23,
        channels: 96,
    };
    let picture = shape.count() / batch;
    let mut input = noise(picture, 23);
    if let Some(factor) = second {
        input.extend(noise(picture, 24).iter().map(|x| x * factor));
    }
    let weight = noise(96 * 96 * 9, 25);
    let mut out = vec![f32::NAN; input.len()];
    let mut outs = Vec::new();
    let mut keep = |out: &[f32]| outs.push(out[..picture].to_vec());
    Filter::new(&weight, 96, 96, None, Window::same(3)).run(&input, shape, None, &mut out);
    keep(&out);
    Matrix::new(&weight[..96 * 96], 96, 96, None).run(&input, None, &mut out);
    keep(&out);
    let sizes = Sizes {
        batch,
        queries: 19 * 23,
        keys: 19 * 23,
        heads: 2,
        head: 48,
    };
    attention(&input, &input, &input, sizes, false, &mut out);
    keep(&out);
    let affine = [&weight[..96], &weight[96..192]];
    group_norm(
        &input,
        [batch, 19 * 23, 96],
        32,
        affine,
        1e-5,
        true,
        &mut out,
    );
    keep(&out);
    layer_norm(&input, affine, 1e-5, &mut out);
    keep(&out);
    outs
}

#[test]
fn a_picture_does_not_depend_on_its_batch_or_on_threads() {
    let on = |threads: usize, second: Option<f32>| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads start");
        pool.install(|| everything(second))
    };
    let alone = on(1, None);
    for (threads, second) in [(1, Some(1.0)), (3, None), (7, Some(5.0))] {
        assert!(
            alone == on(threads, second),
            "{threads} threads, {second:?}"
        );
    }
}
