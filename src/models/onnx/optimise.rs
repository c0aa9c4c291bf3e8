//! What can be computed once, when a network is loaded, instead of at each run.

use burn::backend::Flex;
use burn::backend::flex::FlexDevice;

use super::execute::Place;
use super::graph::{Graph, MAX_NUMBERS, Node, ValueId};
use super::host::{Host, HostData};
use super::kernels::{Kernels, plain};
use super::operator::{Fill, Operator, Padding, Unary};
use super::spec::{Activation, Border, ConvSpec, Window, window_size};
use super::value::{Inputs, Value};
use crate::models::ModelError;

/// Most numbers in all tensors that are computed at load: half a GiB.
const MAX_FOLDED: usize = 1 << 27;

/// Computes what depends on nothing but constants, and lets normalisations by given statistics
/// disappear in the convolutions before them, and borders of zeros in those behind them.
pub fn optimise(graph: Graph) -> Result<Graph, ModelError> {
    let mut graph = fold_constants(graph)?;
    check_packed(&graph)?;
    fold_normalisations(&mut graph);
    fold_borders(&mut graph);
    Ok(graph.pruned())
}

fn fold_constants(mut graph: Graph) -> Result<Graph, ModelError> {
    let device = FlexDevice;
    let store = <Flex as Kernels>::Store::default();
    let place = Place::<Flex> {
        device: &device,
        store: &store,
    };
    let nodes = std::mem::take(&mut graph.nodes);
    let mut folded = 0;
    for node in nodes {
        let constant = node
            .inputs
            .iter()
            .flatten()
            .all(|&id| graph.constants[id].is_some());
        // These wait for their picture even where their weights are all constant.
        let heavy = matches!(
            node.operator,
            Operator::Conv { .. } | Operator::BatchNormalization { .. }
        );
        if !constant || heavy {
            graph.nodes.push(node);
            continue;
        }
        let values: Vec<Option<Value<Flex>>> = node
            .inputs
            .iter()
            .map(|id| {
                id.and_then(|id| graph.constants[id].clone())
                    .map(Value::Host)
            })
            .collect();
        let inputs = Inputs(values.iter().map(Option::as_ref).collect());
        let results = place
            .execute(&node.operator, &inputs, node.outputs.len())
            .and_then(|values| {
                let hosts = values.into_iter().map(kept);
                let hosts = hosts.collect::<Result<Vec<Host>, String>>()?;
                folded += hosts.iter().map(Host::len).sum::<usize>();
                if folded > MAX_FOLDED {
                    return Err(format!("it and others make more than {MAX_FOLDED} numbers"));
                }
                Ok(hosts)
            })
            .map_err(|reason| ModelError::Refused {
                file: graph.file.clone(),
                reason: format!("{} ({}): {reason}", node.name, node.kind),
            })?;
        for (id, host) in node.outputs.iter().zip(results) {
            if let Some(id) = id {
                graph.constants[*id] = Some(host);
            }
        }
    }
    Ok(graph)
}

fn kept(value: Value<Flex>) -> Result<Host, String> {
    let shape = value.sizes();
    Ok(match value {
        Value::Device(tensor) => {
            Host::new(shape, HostData::Floats(plain::download::<Flex>(tensor)?))
        }
        other => other.host().cloned().unwrap_or_else(|| Host::ints(vec![])),
    })
}

/// Refuses a network whose convolutions would take more memory than any real one: each packs weights
/// of its own, while in the file they may all be the same.
fn check_packed(graph: &Graph) -> Result<(), ModelError> {
    let mut packed = 0_usize;
    for node in &graph.nodes {
        let Operator::Conv { window, groups, .. } = &node.operator else {
            continue;
        };
        let Some(&[outputs, each, kh, kw]) = graph.constant(node, 1).map(|host| &host.shape[..])
        else {
            continue;
        };
        let spec = ConvSpec {
            inputs: each.saturating_mul(*groups),
            outputs,
            window: Window {
                kernel: [kh, kw],
                ..window.clone()
            },
            groups: *groups,
        };
        packed = packed.saturating_add(spec.packed().unwrap_or(usize::MAX));
        if packed > MAX_NUMBERS {
            return Err(ModelError::Refused {
                file: graph.file.clone(),
                reason: format!("its convolutions need more than {MAX_NUMBERS} numbers together"),
            });
        }
    }
    Ok(())
}

/// Scale and shift of a normalisation by given statistics:
/// `y = gamma (x - mean) / sqrt(variance + epsilon) + beta`.
pub fn scale_shift(graph: &Graph, node: &Node, epsilon: f32) -> Option<(Vec<f32>, Vec<f32>)> {
    let values = |input| graph.constant(node, input)?.as_floats().ok();
    let (gamma, beta, mean, variance) = (values(1)?, values(2)?, values(3)?, values(4)?);
    let count = gamma.len();
    if [beta.len(), mean.len(), variance.len()] != [count; 3] || count == 0 {
        return None;
    }
    // In double precision: these numbers replace four that were rounded one by one.
    let scale: Vec<f64> = gamma
        .iter()
        .zip(variance)
        .map(|(&gamma, &variance)| {
            f64::from(gamma) / (f64::from(variance) + f64::from(epsilon)).sqrt()
        })
        .collect();
    let shift = beta.iter().zip(mean).zip(&scale);
    let shift =
        shift.map(|((&beta, &mean), scale)| (f64::from(beta) - f64::from(mean) * scale) as f32);
    Some((
        shift.collect(),
        scale.iter().map(|&scale| scale as f32).collect(),
    ))
    .map(|(shift, scale): (Vec<f32>, Vec<f32>)| (scale, shift))
}

fn fold_normalisations(graph: &mut Graph) {
    let uses = graph.uses();
    let mut producers = producers(graph);
    let mut dropped = vec![false; graph.nodes.len()];
    for (index, dropped) in dropped.iter_mut().enumerate() {
        let node = &graph.nodes[index];
        let Operator::BatchNormalization { epsilon } = node.operator else {
            continue;
        };
        let Some(input) = node.inputs.first().copied().flatten() else {
            continue;
        };
        let Some(producer) = producers[input] else {
            continue;
        };
        let conv = &graph.nodes[producer];
        if uses[input] != 1 || !matches!(conv.operator, Operator::Conv { .. }) {
            continue;
        }
        let Some((scale, shift)) = scale_shift(graph, node, epsilon) else {
            continue;
        };
        let Some((weights, bias)) = scaled(graph, conv, &scale, &shift) else {
            continue;
        };
        let output = node.outputs[0];
        let (weights, bias) = (graph.add_value(Some(weights)), graph.add_value(Some(bias)));
        let conv = &mut graph.nodes[producer];
        conv.inputs.truncate(1);
        conv.inputs.extend([Some(weights), Some(bias)]);
        conv.outputs = vec![output];
        if let Some(output) = output {
            producers[output] = Some(producer);
        }
        *dropped = true;
    }
    let mut dropped = dropped.into_iter();
    graph.nodes.retain(|_| !dropped.next().unwrap_or(false));
}

fn fold_borders(graph: &mut Graph) {
    let uses = graph.uses();
    let producers = producers(graph);
    for index in 0..graph.nodes.len() {
        let Some(input) = graph.nodes[index].inputs.first().copied().flatten() else {
            continue;
        };
        let Some(before) = producers[input].filter(|_| uses[input] == 1) else {
            continue;
        };
        let Some(border) = zeros_around(graph, &graph.nodes[before]) else {
            continue;
        };
        let from = graph.nodes[before].inputs[0];
        let node = &mut graph.nodes[index];
        if let Operator::Conv {
            window,
            padding: Padding::Given,
            ..
        } = &mut node.operator
        {
            window.border = window.border + border;
            // Nobody else uses what the other node makes, and so it goes.
            node.inputs[0] = from;
        }
    }
}

/// The zeros that a node puts around pictures, if it does nothing else.
fn zeros_around(graph: &Graph, node: &Node) -> Option<Border> {
    let Operator::Pad {
        fill: Fill::Constant,
        amounts,
        value,
    } = &node.operator
    else {
        return None;
    };
    let given = |input: usize| node.inputs.get(input).copied().flatten().is_some();
    let value = if given(2) {
        graph.constant(node, 2)?.as_floats().ok()?
    } else {
        std::slice::from_ref(value)
    };
    let amounts = match amounts {
        Some(amounts) => amounts,
        None => graph.constant(node, 1)?.as_ints().ok()?,
    };
    let &[0, 0, top, left, 0, 0, bottom, right] = amounts else {
        return None;
    };
    (value == [0.0] && !given(3)).then_some(Border {
        top: window_size(top)?,
        left: window_size(left)?,
        bottom: window_size(bottom)?,
        right: window_size(right)?,
    })
}

/// The node that makes each value.
pub fn producers(graph: &Graph) -> Vec<Option<usize>> {
    let mut producers = vec![None; graph.constants.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for id in node.outputs.iter().flatten() {
            producers[*id] = Some(index);
        }
    }
    producers
}

/// Weights and bias of a convolution whose outputs are scaled and shifted afterwards.
fn scaled(graph: &Graph, conv: &Node, scale: &[f32], shift: &[f32]) -> Option<(Host, Host)> {
    let weights = graph.constant(conv, 1)?;
    let outputs = *weights.shape.first()?;
    if outputs != scale.len() || outputs == 0 {
        return None;
    }
    let bias = match conv.inputs.get(2).copied().flatten() {
        None => vec![0.0; outputs],
        Some(_) => graph.constant(conv, 2)?.as_floats().ok()?.to_vec(),
    };
    if bias.len() != outputs {
        return None;
    }
    let mut numbers = weights.as_floats().ok()?.to_vec();
    let each = numbers.len() / outputs;
    if each == 0 {
        return None;
    }
    for (part, scale) in numbers.chunks_exact_mut(each).zip(scale) {
        for number in part {
            *number *= scale;
        }
    }
    let bias: Vec<f32> = bias
        .iter()
        .zip(scale)
        .zip(shift)
        .map(|((bias, scale), shift)| bias * scale + shift)
        .collect();
    Some((
        Host::new(weights.shape.clone(), HostData::Floats(numbers)),
        Host::new(vec![outputs], HostData::Floats(bias)),
    ))
}

/// The activation that a node applies to maps of so many channels, if it is one.
pub fn activation(graph: &Graph, node: &Node, channels: usize) -> Option<Activation> {
    let number = |input: usize, default: f32| match node.inputs.get(input).copied().flatten() {
        None => Some(default),
        Some(_) => match graph.constant(node, input)?.as_floats().ok()? {
            [value] => Some(*value),
            _ => None,
        },
    };
    match &node.operator {
        Operator::Unary(Unary::Relu) => Some(Activation::RELU),
        Operator::Unary(Unary::LeakyRelu(slope)) => Some(Activation::Slope(vec![*slope])),
        Operator::Clip { low, high } => Some(Activation::Clip(number(1, *low)?, number(2, *high)?)),
        Operator::PRelu => {
            let slopes = graph.constant(node, 1)?;
            let per_channel =
                matches!(slopes.shape.as_slice(), [c, 1, 1] | [1, c, 1, 1] if *c == channels);
            (slopes.len() == 1 || per_channel)
                .then(|| Some(Activation::Slope(slopes.as_floats().ok()?.to_vec())))?
        }
        _ => None,
    }
}

/// The nodes that use each value.
pub fn consumers(graph: &Graph) -> Vec<Vec<usize>> {
    let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); graph.constants.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        node.inputs
            .iter()
            .flatten()
            .for_each(|&id: &ValueId| consumers[id].push(index));
    }
    consumers
}
