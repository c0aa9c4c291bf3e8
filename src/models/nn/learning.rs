//! Layers that remember how they came to their results, so that gradients can be found.
//!
//! A network over [`Learning<B>`] is the same network as over `B`, built by the same code from the
//! same weights, and gives the same results. Each operation is that of `B`; beside it Burn's graph
//! keeps the way back through it, of [`BackKernels`]. What nothing learned flows into, keeps nothing.
//!
//! Only [`Adapter`]s learn: two small matrices beside the weights of a linear layer (LoRA).

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use burn::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::{BackKernels, Kernels, Linear, Maps, Norm, Tokens, Window};

/// A backend that remembers.
pub type Learning<B> = Autodiff<B>;

/// What is added to a linear layer: `scale * up(down(x))`.
///
/// The factors change at each step, so they are put in anew before it ([`Adapter::set`]).
pub struct Adapter<B: BackKernels> {
    scale: f64,
    /// `down` `[rank, inputs]` and `up` `[outputs, rank]`, in 32-bit floats.
    factors: Mutex<Option<[Tensor<Learning<B>, 2>; 2]>>,
}

impl<B: BackKernels> Adapter<B> {
    /// One without factors, which adds nothing yet.
    pub fn new(scale: f64) -> Self {
        Self {
            scale,
            factors: Mutex::new(None),
        }
    }

    /// Puts in the factors: `down` `[rank, inputs]` and `up` `[outputs, rank]`.
    pub fn set(&self, factors: [Tensor<Learning<B>, 2>; 2]) {
        *self.factors.lock().unwrap_or_else(PoisonError::into_inner) = Some(factors);
    }

    fn get(&self) -> Option<[Tensor<Learning<B>, 2>; 2]> {
        let factors = self.factors.lock().unwrap_or_else(PoisonError::into_inner);
        factors.clone()
    }
}

impl<B: BackKernels> Linear<Learning<B>> {
    /// Lets an adapter add to the layer from now on. A layer has one at most; a later one is given
    /// back.
    pub fn adapt(&self, adapter: Arc<Adapter<B>>) -> Result<(), Arc<Adapter<B>>> {
        self.0.adapter.set(adapter)
    }
}

/// A linear layer that stays as it is, and what is learned beside it.
pub struct LearningMatrix<B: BackKernels> {
    ahead: Arc<B::Matrix>,
    /// `[outputs]` to `[inputs]`, for the way back.
    back: Arc<B::Matrix>,
    adapter: OnceLock<Arc<Adapter<B>>>,
}

/// A convolution that stays as it is.
pub struct LearningFilter<B: BackKernels> {
    ahead: B::Filter,
    back: Arc<B::BackFilter>,
}

impl<B: BackKernels> Kernels for Learning<B> {
    type Matrix = LearningMatrix<B>;
    type Filter = LearningFilter<B>;

    fn matrix(weight: Tensor<Self, 2>, bias: Option<Tensor<Self, 1>>) -> Self::Matrix {
        let weight = weight.inner();
        LearningMatrix {
            back: Arc::new(B::matrix(weight.clone().transpose(), None)),
            ahead: Arc::new(B::matrix(weight, bias.map(Tensor::inner))),
            adapter: OnceLock::new(),
        }
    }

    fn apply_matrix(
        matrix: &Self::Matrix,
        input: Tokens<Self>,
        residual: Option<Tokens<Self>>,
    ) -> Tokens<Self> {
        let output = match matrix.adapter.get().and_then(|adapter| {
            let factors = adapter.get()?;
            Some((factors, adapter.scale))
        }) {
            Some((factors, scale)) => adapted(matrix, input, factors, scale),
            None => frozen(matrix, input),
        };
        match residual {
            Some(residual) => output + residual,
            None => output,
        }
    }

    fn filter(weight: Tensor<Self, 4>, bias: Tensor<Self, 1>, window: Window) -> Self::Filter {
        let weight = weight.inner();
        LearningFilter {
            back: Arc::new(B::back_filter(weight.clone(), window)),
            ahead: B::filter(weight, bias.inner(), window),
        }
    }

    fn apply_filter(
        filter: &Self::Filter,
        input: Maps<Self>,
        residual: Option<Maps<Self>>,
    ) -> Maps<Self> {
        let [_, height, width, _] = input.dims();
        let output = B::apply_filter(&filter.ahead, input.clone().inner(), None);
        let back = Arc::clone(&filter.back);
        let output = remember([&raw(input)], output, move |gradient: Maps<B>, _| {
            [Some(raw(B::apply_back_filter(
                &back, gradient, height, width,
            )))]
        });
        match residual {
            Some(residual) => output + residual,
            None => output,
        }
    }

    fn norm_groups(norm: &Norm<Self>, groups: usize, input: Maps<Self>, silu: bool) -> Maps<Self> {
        let norm = inner_norm(norm);
        let from = input.clone().inner();
        let output = B::norm_groups(&norm, groups, from.clone(), silu);
        remember([&raw(input)], output, move |gradient, _| {
            [Some(raw(B::norm_groups_back(
                &norm, groups, from, silu, gradient,
            )))]
        })
    }

    fn norm_tokens(norm: &Norm<Self>, input: Tokens<Self>) -> Tokens<Self> {
        let norm = inner_norm(norm);
        let from = input.clone().inner();
        let output = B::norm_tokens(&norm, from.clone());
        remember([&raw(input)], output, move |gradient, _| {
            [Some(raw(B::norm_tokens_back(&norm, from, gradient)))]
        })
    }

    fn attend(
        query: Tokens<Self>,
        key: Tokens<Self>,
        value: Tokens<Self>,
        heads: usize,
        causal: bool,
    ) -> Tokens<Self> {
        let from = [&query, &key, &value].map(|tokens| tokens.clone().inner());
        let [q, k, v] = from.clone();
        let (output, kept) = B::attend_keeping(q, k, v, heads, causal);
        let found = output.clone();
        let parents = [query, key, value].map(raw);
        remember(parents.each_ref(), output, move |gradient, _| {
            B::attend_back(from, heads, causal, (found, kept), gradient)
                .map(|tokens| Some(raw(tokens)))
        })
    }

    fn gated_gelu(input: Tokens<Self>) -> Tokens<Self> {
        let from = input.clone().inner();
        let output = B::gated_gelu(from.clone());
        remember([&raw(input)], output, move |gradient, _| {
            [Some(raw(B::gated_gelu_back(from, gradient)))]
        })
    }

    fn quick_gelu(input: Tokens<Self>) -> Tokens<Self> {
        let from = input.clone().inner();
        let output = B::quick_gelu(from.clone());
        remember([&raw(input)], output, move |gradient, _| {
            [Some(raw(B::quick_gelu_back(from, gradient)))]
        })
    }

    fn join(first: Maps<Self>, second: Maps<Self>) -> Maps<Self> {
        let [.., left] = first.dims();
        let [.., right] = second.dims();
        let output = B::join(first.clone().inner(), second.clone().inner());
        remember(
            [&raw(first), &raw(second)],
            output,
            move |gradient: Maps<B>, _| {
                let parts = [(0, left), (left, right)];
                parts.map(|(start, width)| Some(raw(gradient.clone().narrow(3, start, width))))
            },
        )
    }

    fn double(input: Maps<Self>) -> Maps<Self> {
        let output = B::double(input.clone().inner());
        remember([&raw(input)], output, move |gradient, _| {
            [Some(raw(B::double_back(gradient)))]
        })
    }
}

/// The layer alone.
fn frozen<B: BackKernels>(
    matrix: &LearningMatrix<B>,
    input: Tokens<Learning<B>>,
) -> Tokens<Learning<B>> {
    let output = B::apply_matrix(&matrix.ahead, input.clone().inner(), None);
    let back = Arc::clone(&matrix.back);
    remember([&raw(input)], output, move |gradient, _| {
        [Some(raw(B::apply_matrix(&back, gradient, None)))]
    })
}

/// The layer with what is learned: `y = W x + s U D x`.
///
/// With `g` as the gradient of `y`: `dU = s gᵀ (D x)`, `dD = s (Uᵀ g)ᵀ x`, `dx = Wᵀ g + s Dᵀ Uᵀ g`.
/// The factors are 32-bit floats; their products are made in what activations are kept in.
fn adapted<B: BackKernels>(
    matrix: &LearningMatrix<B>,
    input: Tokens<Learning<B>>,
    [down, up]: [Tensor<Learning<B>, 2>; 2],
    scale: f64,
) -> Tokens<Learning<B>> {
    let dtype = input.dtype();
    let [batch, tokens, inputs] = input.dims();
    let [rank, _] = down.dims();
    let [outputs, _] = up.dims();
    let low = |factor: &Tensor<Learning<B>, 2>| factor.clone().inner().cast(dtype);
    let (low_down, low_up) = (low(&down), low(&up));
    let from = input.clone().inner();
    let rows = from.clone().reshape([batch * tokens, inputs]);
    let middle = rows.clone().matmul(low_down.clone().transpose()) * scale; // [n, rank]
    let learned = middle.clone().matmul(low_up.clone().transpose()); // [n, outputs]
    let learned = learned.reshape([batch, tokens, outputs]);
    let output = B::apply_matrix(&matrix.ahead, from, Some(learned));
    let back = Arc::clone(&matrix.back);
    let parents = [raw(input), raw(down), raw(up)];
    remember(
        parents.each_ref(),
        output,
        move |gradient: Tokens<B>, [of_input, ..]| {
            let flat = gradient.clone().reshape([batch * tokens, outputs]);
            let inward = flat.clone().matmul(low_up) * scale; // [n, rank]
            let of_up = flat.transpose().matmul(middle).cast(DType::F32);
            let of_down = inward.clone().transpose().matmul(rows).cast(DType::F32);
            debug_assert_eq!(of_down.dims(), [rank, inputs]);
            let of_input = of_input.then(|| {
                let learned = inward.matmul(low_down).reshape([batch, tokens, inputs]);
                raw(B::apply_matrix(&back, gradient, Some(learned)))
            });
            [of_input, Some(raw(of_down)), Some(raw(of_up))]
        },
    )
}

fn inner_norm<B: BackKernels>(norm: &Norm<Learning<B>>) -> Norm<B> {
    Norm {
        scale: norm.scale.clone().inner(),
        shift: norm.shift.clone().inner(),
        epsilon: norm.epsilon,
    }
}

/// The tensor behind a typed one.
fn raw<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// Makes `output` known as a result of `inputs`, and `back` as the way from its gradient to theirs.
/// `back` also hears which of them are wanted.
fn remember<B, const N: usize, const D: usize>(
    inputs: [&FloatTensor<Learning<B>>; N],
    output: Tensor<B, D>,
    back: impl FnOnce(Tensor<B, D>, [bool; N]) -> [Option<FloatTensor<B>>; N] + Send + 'static,
) -> Tensor<Learning<B>, D>
where
    B: BackKernels,
{
    let nodes = inputs.map(|input| input.node.clone());
    let prepared = Way.prepare::<NoCheckpointing>(nodes).compute_bound();
    let output = raw(output);
    let tensor = match prepared.stateful() {
        OpsKind::Tracked(tracked) => {
            let from_typed = move |gradient, wanted| {
                back(
                    Tensor::from_primitive(TensorPrimitive::Float(gradient)),
                    wanted,
                )
            };
            tracked.finish(
                Back(Arc::new(Mutex::new(Some(Box::new(from_typed))))),
                output,
            )
        }
        OpsKind::UnTracked(untracked) => untracked.finish(output),
    };
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}

type BackFunction<B, const N: usize> =
    Box<dyn FnOnce(FloatTensor<B>, [bool; N]) -> [Option<FloatTensor<B>>; N] + Send>;

/// The way back of one operation. It is gone once, and what it keeps is free after that.
struct Back<B: Backend, const N: usize>(Arc<Mutex<Option<BackFunction<B, N>>>>);

impl<B: Backend, const N: usize> Clone for Back<B, N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend, const N: usize> fmt::Debug for Back<B, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Back")
    }
}

/// Goes back through any operation; which one it was, is in its state.
#[derive(Debug)]
struct Way;

impl<B: BackKernels, const N: usize> Backward<B, N> for Way {
    type State = Back<B, N>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let back = ops
            .state
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(back) = back else {
            return;
        };
        for (parent, found) in ops.parents.into_iter().zip(back(gradient, wanted)) {
            if let (Some(parent), Some(found)) = (parent, found) {
                gradients.register::<B>(parent.id, found);
            }
        }
    }
}
