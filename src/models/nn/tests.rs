//! The way back through each operation, held against small differences of what the operation gives
//! and against Burn's own rules for the same formula.

use std::sync::Arc;

use burn::backend::Flex;
use burn::tensor::TensorData;
use burn::tensor::activation::sigmoid;
use burn::tensor::backend::Backend;
use burn::{Dispatch, Tensor};
use burn_autodiff::Autodiff;

use super::{Adapter, BackKernels, Kernels, Learning, Linear, Norm, Window};
use super::{attention, plain, plain_back};
use crate::models::reference::OnCpu;
use crate::models::sampling::Philox;

/// Half of the step between two points whose difference is a slope. With it the third derivative makes
/// errors of 1e-4, and so does what 32-bit floats round off of sums of a hundred numbers near 1.
const HALF_STEP: f32 = 1e-2;
/// Largest error of a difference, as a share of the largest gradient: both of the above, tenfold.
const OF_DIFFERENCES: f32 = 2e-3;
/// Two orders of the same sums in 32-bit floats.
const OF_FORMULAS: f32 = 1e-5;

type Flat<B> = Tensor<B, 1>;

#[derive(Clone, Copy, Debug)]
enum Operation {
    Linear,
    /// Factors `down` and `up` follow the input.
    Adapted(f64),
    Convolution(Window),
    GroupNorm(usize, bool),
    LayerNorm,
    /// How many heads, and whether it is causal.
    Attention(usize, bool),
    GatedGelu,
    QuickGelu,
    Join,
    Double,
}

/// An operation with the sizes of what it works on.
#[derive(Debug)]
struct Case {
    operation: Operation,
    /// Of what gradients are found for; a residual is the last.
    inputs: Vec<Vec<usize>>,
    /// Of what stays as it is.
    weights: Vec<Vec<usize>>,
}

fn cases() -> Vec<Case> {
    let case = |operation, inputs: &[&[usize]], weights: &[&[usize]]| {
        let owned = |sizes: &[&[usize]]| sizes.iter().map(|sizes| sizes.to_vec()).collect();
        Case {
            operation,
            inputs: owned(inputs),
            weights: owned(weights),
        }
    };
    let [same, point] = [3, 1].map(|kernel| Operation::Convolution(Window::same(kernel)));
    let halving = Operation::Convolution(Window::halving());
    let after = Operation::Convolution(Window::halving_after());
    vec![
        case(Operation::Linear, &[&[2, 3, 5]], &[&[4, 5]]),
        case(
            Operation::Linear,
            &[&[2, 3, 5], &[2, 3, 4]],
            &[&[4, 5], &[4]],
        ),
        case(
            Operation::Adapted(0.5),
            &[&[2, 3, 5], &[2, 5], &[4, 2]],
            &[&[4, 5]],
        ),
        case(
            Operation::Adapted(2.0),
            &[&[1, 7, 3], &[1, 3], &[5, 1], &[1, 7, 5]],
            &[&[5, 3], &[5]],
        ),
        case(same, &[&[1, 5, 4, 3]], &[&[2, 3, 3, 3], &[2]]),
        case(
            same,
            &[&[2, 2, 3, 2], &[2, 2, 3, 5]],
            &[&[5, 2, 3, 3], &[5]],
        ),
        case(same, &[&[1, 1, 1, 2]], &[&[3, 2, 3, 3], &[3]]),
        case(point, &[&[2, 3, 2, 3]], &[&[5, 3, 1, 1], &[5]]),
        case(halving, &[&[1, 5, 6, 2]], &[&[3, 2, 3, 3], &[3]]),
        case(halving, &[&[2, 4, 3, 2]], &[&[2, 2, 3, 3], &[2]]),
        case(after, &[&[1, 6, 4, 2]], &[&[3, 2, 3, 3], &[3]]),
        case(after, &[&[2, 5, 3, 1]], &[&[2, 1, 3, 3], &[2]]),
        case(
            Operation::GroupNorm(3, false),
            &[&[2, 3, 2, 6]],
            &[&[6][..]; 2],
        ),
        case(
            Operation::GroupNorm(2, true),
            &[&[2, 1, 5, 6]],
            &[&[6][..]; 2],
        ),
        case(Operation::LayerNorm, &[&[2, 3, 7]], &[&[7][..]; 2]),
        case(Operation::Attention(3, false), &[&[2, 5, 6][..]; 3], &[]),
        case(Operation::Attention(2, true), &[&[2, 4, 6][..]; 3], &[]),
        case(
            Operation::Attention(1, false),
            &[&[1, 3, 5], &[1, 7, 5], &[1, 7, 5]],
            &[],
        ),
        case(
            Operation::Attention(2, false),
            &[&[2, 7, 2], &[2, 1, 2], &[2, 1, 2]],
            &[],
        ),
        case(Operation::GatedGelu, &[&[2, 3, 10]], &[]),
        case(Operation::QuickGelu, &[&[2, 3, 5]], &[]),
        case(Operation::Join, &[&[2, 3, 2, 3], &[2, 3, 2, 4]], &[]),
        case(Operation::Double, &[&[2, 3, 2, 3]], &[]),
    ]
}

/// Made-up numbers.
fn numbers(seed: usize, count: usize) -> Vec<f32> {
    Philox::new(seed as i64).normals(count)
}

fn flat<B: Backend>(numbers: &[f32], device: &B::Device) -> Flat<B> {
    let sizes = [numbers.len()];
    Tensor::from_data(TensorData::new(numbers.to_vec(), sizes), device)
}

fn shaped<B: Backend, const D: usize>(flat: &Flat<B>, sizes: &[usize]) -> Tensor<B, D> {
    let sizes: [usize; D] = sizes.try_into().unwrap();
    flat.clone().reshape(sizes)
}

fn told<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().into_vec().unwrap()
}

fn flattened<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Flat<B> {
    let count: usize = tensor.dims().iter().product();
    tensor.reshape([count])
}

/// The largest difference as a share of the largest number.
fn apart(got: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(got.len(), wanted.len());
    let largest = wanted.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let differences = got.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0.0, |most: f32, apart| {
        if apart.is_nan() {
            f32::INFINITY
        } else {
            most.max(apart)
        }
    });
    worst / largest.max(f32::MIN_POSITIVE)
}

impl Case {
    /// Whether an input changes nothing: a single key gets all of the weight, whatever the query asks for.
    fn is_flat(&self, input: usize) -> bool {
        matches!(self.operation, Operation::Attention(..)) && self.inputs[1][1] == 1 && input < 2
    }

    /// What it works on.
    fn given(&self) -> Vec<Vec<f32>> {
        let inputs = self.inputs.iter().enumerate();
        inputs
            .map(|(at, sizes)| numbers(100 + at, sizes.iter().product()))
            .collect()
    }

    fn weight<B: Backend, const D: usize>(&self, at: usize, device: &B::Device) -> Tensor<B, D> {
        let sizes = &self.weights[at];
        let flat = flat::<B>(&numbers(200 + at, sizes.iter().product()), device) * 0.5;
        shaped(&flat, sizes)
    }

    fn bias<B: Backend>(&self, device: &B::Device) -> Option<Tensor<B, 1>> {
        (self.weights.len() > 1).then(|| self.weight(1, device))
    }

    fn norm<B: Backend>(&self, device: &B::Device) -> Norm<B> {
        Norm {
            scale: self.weight::<B, 1>(0, device) + 1.0,
            shift: self.weight(1, device),
            epsilon: 1e-5,
        }
    }

    fn input<B: Backend, const D: usize>(&self, from: &[Flat<B>], at: usize) -> Tensor<B, D> {
        shaped(&from[at], &self.inputs[at])
    }

    /// The input of this number, where there is one.
    fn residual<B: Backend, const D: usize>(
        &self,
        from: &[Flat<B>],
        at: usize,
    ) -> Option<Tensor<B, D>> {
        (self.inputs.len() > at).then(|| self.input(from, at))
    }

    /// On the kernels of a backend.
    fn ahead<K: Kernels>(&self, from: &[Flat<K>], device: &K::Device) -> Flat<K> {
        let tokens = |at| self.input::<K, 3>(from, at);
        let maps = |at| self.input::<K, 4>(from, at);
        match self.operation {
            Operation::Linear => {
                let matrix = K::matrix(self.weight(0, device), self.bias(device));
                let residual = self.residual(from, 1);
                flattened(K::apply_matrix(&matrix, tokens(0), residual))
            }
            Operation::Adapted(scale) => {
                let matrix = K::matrix(self.weight(0, device), self.bias(device));
                let [down, up] = [1, 2].map(|at| K::matrix(self.input(from, at), None));
                let output = K::apply_matrix(&matrix, tokens(0), self.residual(from, 3));
                let middle = K::apply_matrix(&down, tokens(0), None);
                flattened(output + K::apply_matrix(&up, middle, None) * scale)
            }
            Operation::Convolution(window) => {
                let bias = self.weight(1, device);
                let filter = K::filter(self.weight(0, device), bias, window);
                let residual = self.residual(from, 1);
                flattened(K::apply_filter(&filter, maps(0), residual))
            }
            Operation::GroupNorm(groups, silu) => {
                flattened(K::norm_groups(&self.norm(device), groups, maps(0), silu))
            }
            Operation::LayerNorm => flattened(K::norm_tokens(&self.norm(device), tokens(0))),
            Operation::Attention(heads, causal) => {
                flattened(K::attend(tokens(0), tokens(1), tokens(2), heads, causal))
            }
            Operation::GatedGelu => flattened(K::gated_gelu(tokens(0))),
            Operation::QuickGelu => flattened(K::quick_gelu(tokens(0))),
            Operation::Join => flattened(K::join(maps(0), maps(1))),
            Operation::Double => flattened(K::double(maps(0))),
        }
    }

    /// On layers that remember.
    fn learning<B: BackKernels>(
        &self,
        from: &[Flat<Learning<B>>],
        device: &B::Device,
    ) -> Flat<Learning<B>> {
        let Operation::Adapted(scale) = self.operation else {
            return self.ahead::<Learning<B>>(from, device);
        };
        let matrix = Learning::<B>::matrix(self.weight(0, device), self.bias(device));
        let linear = Linear::<Learning<B>>(Arc::new(matrix));
        let adapter = Arc::new(Adapter::new(scale));
        assert!(linear.adapt(Arc::clone(&adapter)).is_ok());
        adapter.set([self.input(from, 1), self.input(from, 2)]);
        let input = self.input(from, 0);
        flattened(match self.residual(from, 3) {
            Some(residual) => linear.add_to(residual, input),
            None => linear.forward(input),
        })
    }

    /// In operations of Burn alone.
    fn in_burns_terms<A: Backend>(&self, from: &[Flat<A>], device: &A::Device) -> Flat<A> {
        let tokens = |at| self.input::<A, 3>(from, at);
        let maps = |at| self.input::<A, 4>(from, at);
        match self.operation {
            Operation::Linear => {
                let matrix = plain::matrix(self.weight(0, device), self.bias(device));
                flattened(plain::linear(&matrix, tokens(0), self.residual(from, 1)))
            }
            Operation::Adapted(scale) => {
                let matrix = plain::matrix(self.weight(0, device), self.bias(device));
                let [down, up] = [1, 2].map(|at| plain::matrix(self.input(from, at), None));
                let output = plain::linear(&matrix, tokens(0), self.residual(from, 3));
                let middle = plain::linear(&down, tokens(0), None);
                flattened(output + plain::linear(&up, middle, None) * scale)
            }
            Operation::Convolution(window) => {
                let bias = self.weight(1, device);
                let filter = plain::filter(self.weight(0, device), bias, window);
                flattened(plain::conv(&filter, maps(0), self.residual(from, 1)))
            }
            Operation::GroupNorm(groups, silu) => {
                flattened(plain::group_norm(&self.norm(device), groups, maps(0), silu))
            }
            Operation::LayerNorm => flattened(plain::layer_norm(&self.norm(device), tokens(0))),
            Operation::Attention(heads, causal) => flattened(attention::general(
                tokens(0),
                tokens(1),
                tokens(2),
                heads,
                causal,
            )),
            Operation::GatedGelu => flattened(plain::gated_gelu(tokens(0))),
            Operation::QuickGelu => flattened(tokens(0) * sigmoid(tokens(0) * 1.702)),
            Operation::Join => flattened(Tensor::cat(vec![maps(0), maps(1)], 3)),
            Operation::Double => flattened(plain::double(maps(0))),
        }
    }
}

/// The gradients of what `wanted` says of the sum of what an operation gives, each number of it with a
/// factor of its own.
fn gradients<B: Backend>(
    given: &[Vec<f32>],
    wanted: &[bool],
    device: &B::Device,
    operation: impl Fn(&[Flat<Autodiff<B>>]) -> Flat<Autodiff<B>>,
) -> Vec<Option<Vec<f32>>> {
    let leaf = |(numbers, &wanted): (&Vec<f32>, &bool)| {
        let leaf = Tensor::from_inner(flat::<B>(numbers, device));
        if wanted { leaf.require_grad() } else { leaf }
    };
    let leaves: Vec<Flat<Autodiff<B>>> = given.iter().zip(wanted).map(leaf).collect();
    let output = operation(&leaves);
    let [count] = output.dims();
    let factors = Tensor::from_inner(flat::<B>(&numbers(1, count), device));
    let found = (output * factors).sum().backward();
    leaves
        .iter()
        .map(|leaf| leaf.grad(&found).map(told))
        .collect()
}

fn all_gradients<B: BackKernels>(case: &Case, device: &B::Device) -> Vec<Vec<f32>> {
    let given = case.given();
    let wanted = vec![true; given.len()];
    let found = gradients::<B>(&given, &wanted, device, |from| case.learning(from, device));
    found.into_iter().map(Option::unwrap).collect()
}

/// The slope of that sum at each number that is given.
fn slopes<B: Kernels>(case: &Case, device: &B::Device) -> Vec<Vec<f32>> {
    let given = case.given();
    let sum = |given: &[Vec<f32>]| -> f64 {
        let from: Vec<Flat<B>> = given.iter().map(|input| flat(input, device)).collect();
        let output = told(case.ahead(&from, device));
        let factors = numbers(1, output.len());
        let products = output.iter().zip(factors);
        products
            .map(|(x, factor)| f64::from(*x) * f64::from(factor))
            .sum()
    };
    let slope = |input: usize, at: usize| {
        let moved = |by: f32| {
            let mut moved = given.clone();
            moved[input][at] += by;
            (f64::from(moved[input][at]), sum(&moved))
        };
        let ((low, before), (high, after)) = (moved(-HALF_STEP), moved(HALF_STEP));
        ((after - before) / (high - low)) as f32
    };
    let inputs = given.iter().enumerate();
    inputs
        .map(|(input, numbers)| (0..numbers.len()).map(|at| slope(input, at)).collect())
        .collect()
}

fn gradients_are_slopes<B: OnCpu + BackKernels>() {
    for case in cases() {
        let found = all_gradients::<B>(&case, &B::cpu());
        let slopes = slopes::<B>(&case, &B::cpu());
        for (input, (found, slopes)) in found.iter().zip(&slopes).enumerate() {
            let apart = apart(found, slopes);
            assert!(apart < OF_DIFFERENCES, "{case:?}, input {input}: {apart}");
            if case.is_flat(input) {
                continue;
            }
            let steepest = slopes.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            assert!(steepest > 0.01, "{case:?}, input {input} changes nothing");
        }
    }
}

#[test]
fn gradients_are_slopes_on_the_cpus_kernels() {
    gradients_are_slopes::<Flex>();
}

#[test]
fn gradients_are_slopes_on_any_device() {
    gradients_are_slopes::<Dispatch>();
}

fn gradients_are_those_of_burn<B: OnCpu + BackKernels>() {
    for case in cases() {
        let given = case.given();
        let wanted = vec![true; given.len()];
        let found = all_gradients::<B>(&case, &B::cpu());
        let burns = gradients::<Flex>(&given, &wanted, &Flex::cpu(), |from| {
            case.in_burns_terms(from, &Flex::cpu())
        });
        for (input, (found, burns)) in found.iter().zip(burns).enumerate() {
            let apart = apart(found, &burns.unwrap());
            assert!(apart < OF_FORMULAS, "{case:?}, input {input}: {apart}");
        }
    }
}

#[test]
fn gradients_are_those_of_burns_rules_on_the_cpus_kernels() {
    gradients_are_those_of_burn::<Flex>();
}

#[test]
fn gradients_are_those_of_burns_rules_on_any_device() {
    gradients_are_those_of_burn::<Dispatch>();
}

fn learning_changes_no_result<B: OnCpu + BackKernels>() {
    let device = B::cpu();
    for case in cases() {
        let given = case.given();
        let from: Vec<Flat<B>> = given.iter().map(|input| flat(input, &device)).collect();
        let learning: Vec<Flat<Learning<B>>> = from
            .iter()
            .map(|input| Tensor::from_inner(input.clone()).require_grad())
            .collect();
        let plain = told(case.ahead(&from, &device));
        let learned = told(case.learning::<B>(&learning, &device).inner());
        match case.operation {
            // What is learned is added in another order.
            Operation::Adapted(_) => assert!(apart(&learned, &plain) < OF_FORMULAS, "{case:?}"),
            _ => assert_eq!(learned, plain, "{case:?}"),
        }
    }
}

#[test]
fn layers_that_remember_give_what_others_give() {
    learning_changes_no_result::<Flex>();
    learning_changes_no_result::<Dispatch>();
}

fn nothing_else_is_found<B: OnCpu + BackKernels>() {
    let device = B::cpu();
    for case in cases() {
        let given = case.given();
        let all = all_gradients::<B>(&case, &device);
        for only in 0..given.len() {
            let wanted: Vec<bool> = (0..given.len()).map(|at| at == only).collect();
            let found = gradients::<B>(&given, &wanted, &device, |from| {
                case.learning(from, &device)
            });
            for (at, found) in found.into_iter().enumerate() {
                let wanted = (at == only).then(|| all[at].clone());
                assert_eq!(found, wanted, "{case:?}, input {only} alone: {at}");
            }
        }
    }
}

#[test]
fn only_what_is_asked_for_gets_a_gradient_and_it_is_the_same() {
    nothing_else_is_found::<Flex>();
    nothing_else_is_found::<Dispatch>();
}

/// Each operation with all its inputs of the same sizes, once with one tensor for all of them.
fn shares_are_summed<B: OnCpu + BackKernels>() {
    let device = B::cpu();
    let square = |operation, count: usize, sizes: &[usize], weights: &[&[usize]]| Case {
        operation,
        inputs: vec![sizes.to_vec(); count],
        weights: weights.iter().map(|sizes| sizes.to_vec()).collect(),
    };
    let same = Operation::Convolution(Window::same(3));
    for case in [
        square(Operation::Linear, 2, &[2, 3, 4], &[&[4, 4]]),
        square(same, 2, &[1, 3, 4, 2], &[&[2, 2, 3, 3], &[2]]),
        square(Operation::Attention(2, false), 3, &[1, 5, 4], &[]),
        square(Operation::Attention(1, true), 3, &[2, 4, 3], &[]),
        square(Operation::Join, 2, &[1, 2, 3, 2], &[]),
    ] {
        let count = case.inputs.len();
        let one = case.given().remove(0);
        let apart_each = vec![one.clone(); count];
        let separate = gradients::<B>(&apart_each, &vec![true; count], &device, |from| {
            case.learning(from, &device)
        });
        let mut sum = vec![0.0; one.len()];
        for share in separate.into_iter().flatten() {
            for (sum, share) in sum.iter_mut().zip(share) {
                *sum += share;
            }
        }
        let together = gradients::<B>(&[one], &[true], &device, |from| {
            case.learning(&vec![from[0].clone(); count], &device)
        });
        let apart = apart(together[0].as_ref().unwrap(), &sum);
        assert!(apart < OF_FORMULAS, "{case:?}: {apart}");
    }
}

#[test]
fn what_is_used_twice_gets_the_sum_of_what_comes_back() {
    shares_are_summed::<Flex>();
    shares_are_summed::<Dispatch>();
}

#[test]
fn a_way_that_nobody_goes_back_is_dropped_without_harm() {
    let device = Flex::cpu();
    for case in cases() {
        let given = case.given();
        let leaves: Vec<Flat<Learning<Flex>>> = given
            .iter()
            .map(|input| Tensor::from_inner(flat::<Flex>(input, &device)).require_grad())
            .collect();
        let left = case.learning::<Flex>(&leaves, &device);
        let copy = left.clone();
        drop(left);
        let gone = case.learning::<Flex>(&leaves, &device);
        let [count] = gone.dims();
        let factors = Tensor::from_inner(flat::<Flex>(&numbers(1, count), &device));
        let found = (gone * factors).sum().backward();
        drop(copy);
        let wanted = all_gradients::<Flex>(&case, &device);
        for (leaf, wanted) in leaves.iter().zip(wanted) {
            assert_eq!(leaf.grad(&found).map(told), Some(wanted), "{case:?}");
        }
    }
}

#[test]
fn attention_in_pieces_goes_back_as_in_one() {
    let device = Flex::cpu();
    let (batch, queries, keys, heads, channels) = (2, 7, 7, 3, 6);
    for causal in [false, true] {
        let tokens = |seed: usize, length: usize| {
            let numbers = numbers(seed, batch * length * channels);
            shaped::<Flex, 3>(&flat(&numbers, &device), &[batch, length, channels])
        };
        let from = [tokens(1, queries), tokens(2, keys), tokens(3, keys)];
        let [query, key, value] = from.clone();
        let output = Flex::attend(query, key, value, heads, causal);
        let gradient = tokens(4, queries);
        let in_pieces_of = |scores: usize| {
            let (output, gradient) = (output.clone(), gradient.clone());
            plain_back::attention_in_pieces(from.clone(), heads, causal, output, gradient, scores)
                .map(told)
        };
        let whole = in_pieces_of(usize::MAX);
        // Of one query, of three with one left, and less than one, which is taken as one.
        for rows in [1, 3, 0] {
            let pieces = in_pieces_of(rows * batch * heads * keys);
            for (piece, whole) in pieces.iter().zip(&whole) {
                assert!(apart(piece, whole) < OF_FORMULAS, "{causal}, {rows}");
            }
        }
    }
}

#[test]
fn an_adapter_without_factors_adds_nothing_and_a_layer_has_one() {
    let device = Flex::cpu();
    let weight = |seed| shaped::<Learning<Flex>, 2>(&flat(&numbers(seed, 12), &device), &[4, 3]);
    let linear = Linear::<Learning<Flex>>(Arc::new(Learning::<Flex>::matrix(weight(1), None)));
    let input = || shaped::<Learning<Flex>, 3>(&flat(&numbers(2, 6), &device), &[1, 2, 3]);
    let plain = told(linear.forward(input()));
    let adapter = Arc::new(Adapter::<Flex>::new(1.0));
    assert!(linear.adapt(Arc::clone(&adapter)).is_ok());
    assert_eq!(told(linear.forward(input())), plain);
    adapter.set([weight(3).narrow(0, 0, 2), weight(4).narrow(1, 0, 2)]);
    assert_ne!(told(linear.clone().forward(input())), plain);
    assert!(linear.adapt(Arc::new(Adapter::new(1.0))).is_err());
}
