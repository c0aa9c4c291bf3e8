//! From a checked network to the steps that a device carries out.
//!
//! Everything that can be decided before a picture is there is decided here: which convolution takes
//! over which activation and which addition, which two convolutions run as one, and after which step
//! a value is no longer needed.

use super::graph::{Graph, Node, ValueId};
use super::kernels::Kernels;
use super::operator::{Binary, Operator, Padding};
use super::optimise::{activation, consumers, producers, scale_shift};
use super::spec::{Activation, Border, ConvSpec, Window};
use crate::models::ModelError;

/// A convolution in working order.
pub struct ConvStep<B: Kernels> {
    /// Its weights on the device.
    pub conv: B::Conv,
    /// Channels that its input must have.
    pub inputs: usize,
    /// Channels of its output.
    pub outputs: usize,
    /// How it moves; of two joined convolutions, the second.
    pub window: Window,
    /// Whether its border depends on the size of its input.
    pub padding: Padding,
}

/// What a step does.
pub enum Action<B: Kernels> {
    /// A convolution of the first input, plus the second where there is one.
    Conv(Box<ConvStep<B>>),
    /// `scale x + shift` along axis 1.
    ScaleShift(Vec<f32>, Vec<f32>),
    /// Any other operator.
    Operator(Operator),
}

/// One step.
pub struct Step<B: Kernels> {
    /// Name of the node that it comes from.
    pub name: String,
    /// Operator of that node.
    pub kind: String,
    /// What it does.
    pub action: Action<B>,
    /// What it needs.
    pub inputs: Vec<Option<ValueId>>,
    /// What it makes.
    pub outputs: Vec<Option<ValueId>>,
    /// What nobody needs after it.
    pub frees: Vec<ValueId>,
}

/// A convolution before its weights are packed.
struct Draft {
    node: usize,
    spec: ConvSpec,
    padding: Padding,
    activation: Activation,
    residual: Option<ValueId>,
    output: Option<ValueId>,
}

/// Makes the steps of a network.
pub fn plan<B: Kernels>(graph: &Graph, device: &B::Device) -> Result<Vec<Step<B>>, ModelError> {
    let uses = graph.uses();
    let consumers = consumers(graph);
    let producers = producers(graph);
    let only_consumer = |id: Option<ValueId>| {
        let id = id.filter(|&id| uses[id] == 1)?;
        consumers[id].first().copied()
    };
    let mut absorbed = vec![false; graph.nodes.len()];
    let mut steps: Vec<Step<B>> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if absorbed[index] {
            continue;
        }
        let action = match &node.operator {
            Operator::Conv {
                window,
                padding,
                groups,
            } => {
                let mut draft = draft(graph, node, index, window, *padding, *groups)?;
                let mut next = only_consumer(draft.output);
                if let Some(at) = next
                    && !draft.spec.is_depthwise()
                    && let Some(other) = addend(&graph.nodes[at], draft.output)
                    && graph.constants[other].is_none()
                    && producers[other].is_none_or(|at| at < index)
                    && !is_one_pixel(graph, &producers, node.inputs.first().copied().flatten())
                {
                    draft.residual = Some(other);
                    draft.output = graph.nodes[at].outputs[0];
                    absorbed[at] = true;
                    next = only_consumer(draft.output);
                }
                if let Some(at) = next
                    && let Some(activation) =
                        activation(graph, &graph.nodes[at], draft.spec.outputs)
                    && graph.nodes[at].inputs[0] == draft.output
                {
                    draft.activation = activation;
                    draft.output = graph.nodes[at].outputs[0];
                    absorbed[at] = true;
                }
                steps.push(conv_step(graph, draft, device)?);
                continue;
            }
            Operator::BatchNormalization { epsilon } => {
                let Some((scale, shift)) = scale_shift(graph, node, *epsilon) else {
                    return Err(unsupported(
                        graph,
                        node,
                        "its statistics are not in the file",
                    ));
                };
                Action::ScaleShift(scale, shift)
            }
            other => Action::Operator(other.clone()),
        };
        let inputs = match &action {
            Action::ScaleShift(..) => node.inputs.iter().copied().take(1).collect(),
            _ => node.inputs.clone(),
        };
        let (name, kind) = (node.name.clone(), node.kind.clone());
        steps.push(Step {
            name,
            kind,
            action,
            inputs,
            outputs: node.outputs.clone(),
            frees: vec![],
        });
    }
    let mut steps = join(graph, steps);
    mark_last_uses(graph, &mut steps);
    Ok(steps)
}

fn unsupported(graph: &Graph, node: &Node, reason: &str) -> ModelError {
    ModelError::Unsupported {
        file: graph.file.clone(),
        node: node.name.clone(),
        operator: node.kind.clone(),
        reason: reason.into(),
    }
}

/// Whether a value is what is left of whole pictures, one number a channel: added to a picture it is
/// broadcast, which a convolution does not do with its sum.
fn is_one_pixel(graph: &Graph, producers: &[Option<usize>], mut value: Option<ValueId>) -> bool {
    while let Some(id) = value
        && let Some(node) = producers[id].map(|at| &graph.nodes[at])
    {
        match node.operator {
            Operator::GlobalAveragePool | Operator::GlobalMaxPool | Operator::Reduce { .. } => {
                return true;
            }
            Operator::Conv { .. }
            | Operator::BatchNormalization { .. }
            | Operator::Unary(_)
            | Operator::PRelu
            | Operator::Clip { .. } => value = node.inputs.first().copied().flatten(),
            _ => return false,
        }
    }
    false
}

/// What a node adds to `value`, if it is an addition of two different values.
fn addend(node: &Node, value: Option<ValueId>) -> Option<ValueId> {
    match (&node.operator, node.inputs.as_slice()) {
        (Operator::Binary(Binary::Add), &[a, b]) if a != b => {
            if a == value {
                b
            } else {
                a
            }
        }
        _ => None,
    }
}

fn draft(
    graph: &Graph,
    node: &Node,
    index: usize,
    window: &Window,
    padding: Padding,
    groups: usize,
) -> Result<Draft, ModelError> {
    let refuse = |reason: &str| Err(unsupported(graph, node, reason));
    let Some(weights) = graph.constant(node, 1) else {
        return refuse("its weights are computed and not in the file");
    };
    let &[outputs, each, kh, kw] = weights.shape.as_slice() else {
        return refuse("only convolutions of pictures are supported");
    };
    if weights.as_floats().is_err() || outputs == 0 || each == 0 || kh == 0 || kw == 0 {
        return refuse("its weights are damaged");
    }
    let given = window.kernel;
    if given != [0, 0] && given != [kh, kw] {
        return refuse("its weights do not have the size of its kernel");
    }
    if kh > 1024 || kw > 1024 || outputs % groups != 0 {
        return refuse("its weights do not fit its kernel or its groups");
    }
    let Some(inputs) = each.checked_mul(groups) else {
        return refuse("it has too many groups");
    };
    if let Some(bias) = node.inputs.get(2).copied().flatten() {
        let bias = graph.constants[bias].as_ref();
        if bias.is_none_or(|bias| bias.len() != outputs || bias.as_floats().is_err()) {
            return refuse("its bias is not in the file, or does not fit");
        }
    }
    let window = Window {
        kernel: [kh, kw],
        ..window.clone()
    };
    Ok(Draft {
        node: index,
        spec: ConvSpec {
            inputs,
            outputs,
            window,
            groups,
        },
        padding,
        activation: Activation::NONE,
        residual: None,
        output: node.outputs.first().copied().flatten(),
    })
}

fn conv_step<B: Kernels>(
    graph: &Graph,
    draft: Draft,
    device: &B::Device,
) -> Result<Step<B>, ModelError> {
    let node = &graph.nodes[draft.node];
    let numbers = |input: usize| {
        graph
            .constant(node, input)
            .and_then(|host| host.as_floats().ok())
            .unwrap_or(&[])
    };
    let mut spec = draft.spec;
    if draft.padding != Padding::Given {
        // The border is added when the size of the input is known.
        spec.window.border = Border::default();
    }
    let window = spec.window.clone();
    let (inputs, outputs) = (spec.inputs, spec.outputs);
    let Some(input) = node.inputs.first().copied().flatten() else {
        return Err(unsupported(graph, node, "its input is missing"));
    };
    let conv = B::conv_prepare(spec, numbers(1), numbers(2), draft.activation, device);
    let conv = ConvStep {
        conv,
        inputs,
        outputs,
        window,
        padding: draft.padding,
    };
    let residual = draft.residual.map(Some);
    Ok(Step {
        name: node.name.clone(),
        kind: node.kind.clone(),
        action: Action::Conv(Box::new(conv)),
        inputs: std::iter::once(Some(input)).chain(residual).collect(),
        outputs: vec![draft.output],
        frees: vec![],
    })
}

/// Lets pairs of convolutions run as one where the device has something better for them.
fn join<B: Kernels>(graph: &Graph, steps: Vec<Step<B>>) -> Vec<Step<B>> {
    let mut uses = vec![0; graph.constants.len()];
    let inputs = steps.iter().flat_map(|step| step.inputs.iter().flatten());
    for id in inputs.chain(graph.outputs.iter().map(|(id, _)| id)) {
        uses[*id] += 1;
    }
    let mut joined: Vec<Step<B>> = Vec::with_capacity(steps.len());
    for mut step in steps {
        if let Action::Conv(second) = &mut step.action
            && second.padding == Padding::Given
            && let Some(input) = step.inputs[0]
            && uses[input] == 1
            && let Some(at) = joined
                .iter()
                .rposition(|before| before.outputs[0] == Some(input))
            && let Action::Conv(first) = &joined[at].action
            && first.padding == Padding::Given
            && joined[at].inputs.len() == 1
            && let Some(conv) = B::conv_join(&first.conv, &second.conv)
        {
            second.conv = conv;
            second.inputs = first.inputs;
            step.inputs[0] = joined[at].inputs[0];
            joined.remove(at);
        }
        joined.push(step);
    }
    joined
}

fn mark_last_uses<B: Kernels>(graph: &Graph, steps: &mut [Step<B>]) {
    let mut needed: Vec<bool> = vec![false; graph.constants.len()];
    for (id, _) in &graph.outputs {
        needed[*id] = true;
    }
    for step in steps.iter_mut().rev() {
        // What nobody wants at all goes at once.
        let ids: Vec<ValueId> = step
            .inputs
            .iter()
            .chain(&step.outputs)
            .flatten()
            .copied()
            .collect();
        for id in ids {
            if !needed[id] && graph.constants[id].is_none() {
                needed[id] = true;
                step.frees.push(id);
            }
        }
    }
}
