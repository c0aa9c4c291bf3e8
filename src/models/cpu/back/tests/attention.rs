//! The way back of attention against its formulas, and these against differences.

use super::{close, slopes, wide};
use crate::models::cpu::back::{Attended, attention_back};
use crate::models::cpu::tests::noise;
use crate::models::cpu::{Sizes, attention_with_totals};

/// Attention in 64-bit floats.
fn attend(query: &[f64], key: &[f64], value: &[f64], sizes: Sizes, causal: bool) -> Vec<f64> {
    let Sizes { keys, head, .. } = sizes;
    let channels = sizes.heads * head;
    let mut out = Vec::with_capacity(query.len());
    for (i, query) in query.chunks_exact(channels).enumerate() {
        let (n, i) = (i / sizes.queries, i % sizes.queries);
        let seen = if causal { keys.min(i + 1) } else { keys };
        for (h, query) in query.chunks_exact(head).enumerate() {
            let at = |j: usize| (n * keys + j) * channels + h * head;
            let weights: Vec<f64> = (0..seen)
                .map(|j| {
                    let terms = query.iter().zip(&key[at(j)..]).map(|(a, b)| a * b);
                    (terms.sum::<f64>() / (head as f64).sqrt()).exp()
                })
                .collect();
            let total: f64 = weights.iter().sum();
            for c in 0..head {
                let terms = weights.iter().enumerate();
                let sum: f64 = terms.map(|(j, weight)| weight * value[at(j) + c]).sum();
                out.push(sum / total);
            }
        }
    }
    out
}

/// The way back of attention by its formulas, in 64-bit floats.
fn attend_back(
    [query, key, value, gradient]: [&[f32]; 4],
    sizes: Sizes,
    causal: bool,
) -> [Vec<f64>; 3] {
    let [query, key, value, gradient] = [query, key, value, gradient].map(wide);
    let out = attend(&query, &key, &value, sizes, causal);
    let Sizes {
        queries,
        keys,
        heads,
        head,
        ..
    } = sizes;
    let channels = heads * head;
    let root = (head as f64).sqrt();
    let mut to = [&query, &key, &value].map(|numbers| vec![0.0; numbers.len()]);
    let dot = |a: &[f64], b: &[f64]| (0..head).map(|c| a[c] * b[c]).sum::<f64>();
    for pair in 0..query.len() / head {
        let (token, h) = (pair / heads, pair % heads);
        let (n, i) = (token / queries, token % queries);
        let seen = if causal { keys.min(i + 1) } else { keys };
        let q = token * channels + h * head;
        let at = |j: usize| (n * keys + j) * channels + h * head;
        let weight = |j: usize| (dot(&query[q..], &key[at(j)..]) / root).exp();
        let weights: Vec<f64> = (0..seen).map(weight).collect();
        let total: f64 = weights.iter().sum();
        let mean = dot(&gradient[q..], &out[q..]);
        for (j, weight) in weights.iter().enumerate() {
            let weight = weight / total;
            let slope = weight * (dot(&gradient[q..], &value[at(j)..]) - mean) / root;
            for c in 0..head {
                to[0][q + c] += slope * key[at(j) + c];
                to[1][at(j) + c] += slope * query[q + c];
                to[2][at(j) + c] += weight * gradient[q + c];
            }
        }
    }
    to
}

/// The gradients of query, key and value.
pub fn undo_attention(
    [query, key, value, gradient]: [&[f32]; 4],
    sizes: Sizes,
    causal: bool,
) -> [Vec<f32>; 3] {
    let mut out = vec![f32::NAN; query.len()];
    let mut totals = vec![f32::NAN; sizes.batch * sizes.heads * sizes.queries];
    let inputs = [query, key, value];
    attention_with_totals(inputs, sizes, causal, &mut out, Some(&mut totals));
    let attended = Attended {
        query,
        key,
        value,
        out: &out,
        totals: &totals,
    };
    let mut to = inputs.map(|numbers| vec![f32::NAN; numbers.len()]);
    let [to_query, to_key, to_value] = &mut to;
    let gradients: [&mut [f32]; 3] = [to_query, to_key, to_value];
    attention_back(attended, gradient, sizes, causal, gradients);
    to
}

/// Query, key, value and gradient.
fn attention_inputs(sizes: Sizes, factor: f32) -> [Vec<f32>; 4] {
    let channels = sizes.heads * sizes.head;
    let (queries, keys) = (sizes.batch * sizes.queries, sizes.batch * sizes.keys);
    let mut query = noise(queries * channels, 40);
    for x in &mut query {
        *x *= factor;
    }
    let key = noise(keys * channels, 41);
    let value = noise(keys * channels, 42);
    [query, key, value, noise(queries * channels, 43)]
}

#[test]
fn the_formulas_of_attention_are_its_differences() {
    let sizes = Sizes {
        batch: 2,
        queries: 4,
        keys: 3,
        heads: 2,
        head: 5,
    };
    let inputs = attention_inputs(sizes, 2.0);
    let [query, key, value, gradient] = inputs.each_ref().map(Vec::as_slice);
    let wides = [query, key, value].map(wide);
    for causal in [false, true] {
        let [to_query, to_key, to_value] =
            attend_back([query, key, value, gradient], sizes, causal);
        let [q, k, v] = &wides;
        for (input, formula, expected) in [
            (
                query,
                to_query,
                slopes(query, gradient, |q| attend(q, k, v, sizes, causal)),
            ),
            (
                key,
                to_key,
                slopes(key, gradient, |k| attend(q, k, v, sizes, causal)),
            ),
            (
                value,
                to_value,
                slopes(value, gradient, |v| attend(q, k, v, sizes, causal)),
            ),
        ] {
            assert_eq!(input.len(), formula.len());
            for (formula, expected) in formula.iter().zip(&expected) {
                assert!((formula - expected).abs() < 1e-8, "{formula} {expected}");
            }
        }
    }
}

#[test]
fn attention_is_undone_at_any_size() {
    for [batch, queries, keys, heads, head] in [
        [1, 1, 1, 1, 1],
        [2, 4, 3, 2, 5],
        [2, 77, 77, 3, 64],
        [1, 300, 77, 2, 40],
        [2, 65, 300, 2, 80],
        [1, 33, 129, 1, 160],
        [1, 100, 17, 1, 24],
        [1, 1100, 40, 1, 8],
        [1, 20, 257, 2, 8],
    ] {
        for (causal, factor) in [(false, 1.0), (true, 1.0), (false, 20.0), (true, 20.0)] {
            let sizes = Sizes {
                batch,
                queries,
                keys,
                heads,
                head,
            };
            let inputs = attention_inputs(sizes, factor);
            let inputs = inputs.each_ref().map(Vec::as_slice);
            let expected = attend_back(inputs, sizes, causal);
            let found = undo_attention(inputs, sizes, causal);
            for (name, (found, expected)) in ["query", "key", "value"]
                .iter()
                .zip(found.iter().zip(&expected))
            {
                let what = format!("{name} of {sizes:?}, causal {causal}");
                // Of a single key the weight is 1, and what is left of its gradient is rounding.
                let floor = f64::from(factor) * 1e-6;
                if expected.iter().all(|x| x.abs() < floor) {
                    assert!(found.iter().all(|x| f64::from(x.abs()) < floor), "{what}");
                } else {
                    close(found, expected, 3e-5, &what);
                }
            }
        }
    }
}

#[test]
fn attention_without_keys_or_queries_has_no_gradients() {
    let mut to = vec![f32::NAN; 6];
    let nothing = Attended {
        query: &[1.0; 6],
        key: &[],
        value: &[],
        out: &[1.0; 6],
        totals: &[0.0; 2],
    };
    let mut sizes = Sizes {
        batch: 1,
        queries: 2,
        keys: 0,
        heads: 1,
        head: 3,
    };
    attention_back(
        nothing,
        &[1.0; 6],
        sizes,
        false,
        [&mut to, &mut [], &mut []],
    );
    assert_eq!(to, [0.0; 6]);
    (sizes.queries, sizes.keys) = (0, 2);
    let nobody = Attended {
        query: &[],
        key: &[1.0; 6],
        value: &[1.0; 6],
        out: &[],
        totals: &[],
    };
    let mut other = vec![f32::NAN; 6];
    to.fill(f32::NAN);
    attention_back(nobody, &[], sizes, false, [&mut [], &mut to, &mut other]);
    assert_eq!((to, other), (vec![0.0; 6], vec![0.0; 6]));
}
