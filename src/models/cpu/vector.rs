//! Functions of whole vectors: exponentials and what is made of them.

use std::f32::consts::{LOG2_E, SQRT_2};

use pulp::Simd;

/// Adding it rounds a small number to an integer and leaves that in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// ln 2 as a short number plus the rest, so that multiples of the first are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// 2^x on [-1/2, 1/2], the polynomial of least relative error (7.5e-8), highest power first.
const EXP2: [f32; 6] = [
    0.001_327_65,
    0.009_675_54,
    0.055_507_13,
    0.240_221_2,
    0.693_146_97,
    1.000_000_1,
];

/// e^x on [-ln 2 / 2, ln 2 / 2] (error 2e-9), highest power first.
const EXP: [f32; 7] = [
    0.001_383_68,
    0.008_374_83,
    0.041_668_23,
    0.166_664_2,
    0.499_999_9,
    1.0,
    1.0,
];

/// `t exp(-x²)` times this polynomial of `t = 1 / (1 + 0.3275911 x)` is `erfc(x)` up to 1.5e-7
/// (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26), highest power first.
const ERFC: [f32; 5] = [
    1.061_405_4,
    -1.453_152,
    1.421_413_7,
    -0.284_496_74,
    0.254_829_6,
];

/// The density of the normal distribution at zero, one over the root of 2π.
const DENSITY: f32 = 0.398_942_3;

#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, factors: [f32; N], x: S::f32s) -> S::f32s {
    let mut sum = simd.splat_f32s(factors[0]);
    for factor in &factors[1..] {
        sum = simd.mul_add_f32s(sum, x, simd.splat_f32s(*factor));
    }
    sum
}

/// 2^n of a number that [`ROUND`] was added to. -127 gives zero.
#[inline(always)]
fn power<S: Simd>(simd: S, rounded: S::f32s) -> S::f32s {
    let bits = simd.transmute_u32s_f32s(rounded);
    let shifted = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23));
    let one = simd.splat_u32s(1.0f32.to_bits());
    simd.transmute_f32s_u32s(simd.add_u32s(shifted, one))
}

/// 2^x for x up to 0, with a relative error below 2e-7; zero below 2^-126.
#[inline(always)]
pub fn exp2_negative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = simd.max_f32s(x, simd.splat_f32s(-127.0));
    let rounded = simd.add_f32s(x, simd.splat_f32s(ROUND));
    let rest = simd.sub_f32s(x, simd.sub_f32s(rounded, simd.splat_f32s(ROUND)));
    simd.mul_f32s(polynomial(simd, EXP2, rest), power(simd, rounded))
}

/// e^x with a relative error below 2e-7; what is below e^-87 or above e^88 stays there.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = simd.max_f32s(x, simd.splat_f32s(-87.0));
    let x = simd.min_f32s(x, simd.splat_f32s(88.0));
    let rounded = simd.mul_add_f32s(x, simd.splat_f32s(LOG2_E), simd.splat_f32s(ROUND));
    let count = simd.sub_f32s(simd.splat_f32s(ROUND), rounded);
    let rest = simd.mul_add_f32s(count, simd.splat_f32s(LN_2[0]), x);
    let rest = simd.mul_add_f32s(count, simd.splat_f32s(LN_2[1]), rest);
    simd.mul_f32s(polynomial(simd, EXP, rest), power(simd, rounded))
}

/// `x / (1 + e^(-factor x))`.
#[inline(always)]
pub fn swish<S: Simd>(simd: S, x: S::f32s, factor: f32) -> S::f32s {
    let below = exp(simd, simd.mul_f32s(x, simd.splat_f32s(-factor)));
    simd.div_f32s(x, simd.add_f32s(below, simd.splat_f32s(1.0)))
}

/// `x Φ(x)` with Φ the normal distribution, up to 1.5e-7 |x|.
#[inline(always)]
pub fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let z = simd.mul_f32s(simd.abs_f32s(x), simd.splat_f32s(1.0 / SQRT_2));
    let t = simd.div_f32s(one, simd.mul_add_f32s(z, simd.splat_f32s(0.327_591_1), one));
    let gauss = exp(simd, simd.mul_f32s(z, simd.neg_f32s(z)));
    let sum = simd.mul_f32s(polynomial(simd, ERFC, t), simd.mul_f32s(t, gauss));
    // Half of erfc is the share of the far tail: x loses it above zero and keeps only it below.
    let tail = simd.mul_f32s(simd.mul_f32s(sum, simd.splat_f32s(0.5)), simd.abs_f32s(x));
    simd.sub_f32s(simd.max_f32s(x, simd.splat_f32s(0.0)), tail)
}

/// How fast [`swish`] grows: with `s = 1 / (1 + e^(-factor x))` it is `s + factor x s (1 - s)`.
#[inline(always)]
pub fn swish_slope<S: Simd>(simd: S, x: S::f32s, factor: f32) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let x = simd.mul_f32s(x, simd.splat_f32s(factor));
    let below = exp(simd, simd.neg_f32s(x));
    let share = simd.div_f32s(one, simd.add_f32s(below, one));
    let rest = simd.mul_f32s(x, simd.sub_f32s(one, share));
    simd.mul_add_f32s(share, rest, share)
}

/// [`gelu`] and how fast it grows, `Φ(x) + x φ(x)` with φ the density of the normal distribution.
#[inline(always)]
pub fn gelu_and_slope<S: Simd>(simd: S, x: S::f32s) -> [S::f32s; 2] {
    let one = simd.splat_f32s(1.0);
    let half = simd.splat_f32s(0.5);
    let size = simd.abs_f32s(x);
    let z = simd.mul_f32s(size, simd.splat_f32s(1.0 / SQRT_2));
    let t = simd.div_f32s(one, simd.mul_add_f32s(z, simd.splat_f32s(0.327_591_1), one));
    let gauss = exp(simd, simd.mul_f32s(z, simd.neg_f32s(z)));
    let sum = simd.mul_f32s(polynomial(simd, ERFC, t), simd.mul_f32s(t, gauss));
    let tail = simd.mul_f32s(sum, half);
    let positive = simd.max_f32s(x, simd.splat_f32s(0.0));
    let value = simd.sub_f32s(positive, simd.mul_f32s(tail, size));
    // Above zero the tail is what Φ lacks of 1, below it is Φ itself.
    let below = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    let share = simd.select_f32s(below, tail, simd.sub_f32s(one, tail));
    let density = simd.mul_f32s(gauss, simd.splat_f32s(DENSITY));
    [value, simd.mul_add_f32s(x, density, share)]
}
