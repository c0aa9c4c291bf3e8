//! Runs the steps of a network on a device.

use super::arrange::ranked;
use super::compute::settle;
use super::execute::Place;
use super::graph::{Graph, Port, ValueId};
use super::host::{broadcast, elements};
use super::kernels::{Kernels, plain};
use super::operator::{Fill, Padding};
use super::plan::{Action, ConvStep, Step, plan};
use super::spec::Border;
use super::value::{Inputs, Value, limited, pictures};
use super::{HostTensor, optimise};
use crate::models::ModelError;

/// Most numbers that are alive at a time: 2 GiB.
const MAX_ALIVE: usize = 1 << 29;

/// A network on a device of one backend.
pub struct Engine<B: Kernels> {
    file: String,
    steps: Vec<Step<B>>,
    /// The constants that steps still ask for; none for what is computed.
    constants: Vec<Option<Value<B>>>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    /// As the file declares them.
    pub ports: [Vec<Port>; 2],
    device: B::Device,
    store: B::Store,
}

impl<B: Kernels> Engine<B> {
    /// Prepares a network for a device.
    pub fn new(graph: Graph, device: B::Device) -> Result<Self, ModelError> {
        let graph = optimise::optimise(graph)?;
        let steps = plan::<B>(&graph, &device)?;
        let mut wanted = vec![false; graph.constants.len()];
        let ids = steps
            .iter()
            .flat_map(|step| step.inputs.iter().flatten().copied());
        ids.chain(graph.outputs.iter().map(|(id, _)| *id))
            .for_each(|id| wanted[id] = true);
        let constants = graph
            .constants
            .into_iter()
            .zip(wanted)
            .map(|(host, wanted)| host.filter(|_| wanted).map(Value::constant))
            .collect();
        let (inputs, given) = graph.inputs.into_iter().unzip();
        let (outputs, made) = graph.outputs.into_iter().unzip();
        let store = B::Store::default();
        let (file, ports) = (graph.file, [given, made]);
        Ok(Self {
            file,
            steps,
            constants,
            inputs,
            outputs,
            ports,
            device,
            store,
        })
    }

    /// Runs the network on its inputs, in the order of its ports.
    pub fn run(&self, inputs: Vec<HostTensor>) -> Result<Vec<HostTensor>, ModelError> {
        let fail = |reason: String| ModelError::Run {
            file: self.file.clone(),
            reason,
        };
        self.check(&inputs).map_err(fail)?;
        let mut values = self.constants.clone();
        let mut alive = 0_usize;
        for (&id, HostTensor { shape, data }) in self.inputs.iter().zip(inputs) {
            alive += data.len();
            values[id] = Some(Value::Device(plain::upload::<B>(
                data,
                &shape,
                &self.device,
            )));
        }
        for step in &self.steps {
            let results = self
                .step(step, &values)
                .map_err(|reason| fail(format!("{} ({}): {reason}", step.name, step.kind)))?;
            for (id, value) in step.outputs.iter().zip(results) {
                if let Some(id) = id {
                    alive += elements(&value.sizes()).unwrap_or(0);
                    values[*id] = Some(value);
                }
            }
            if alive > MAX_ALIVE {
                return Err(fail(format!("{} needs more memory than 2 GiB", step.name)));
            }
            for &id in &step.frees {
                if let Some(value) = values[id].take() {
                    alive = alive.saturating_sub(elements(&value.sizes()).unwrap_or(0));
                    if let Value::Device(tensor) = value {
                        B::recycle(tensor, &self.store);
                    }
                }
            }
        }
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for &id in &self.outputs {
            let value = values[id]
                .as_ref()
                .ok_or_else(|| fail("an output is missing".into()))?;
            let shape = value.sizes();
            let tensor = value.device(&self.device).map_err(fail)?;
            let data = plain::download::<B>(tensor).map_err(fail)?;
            outputs.push(HostTensor { shape, data });
        }
        for &id in &self.outputs {
            if let Some(Value::Device(tensor)) = values[id].take() {
                B::recycle(tensor, &self.store);
            }
        }
        Ok(outputs)
    }

    fn check(&self, inputs: &[HostTensor]) -> Result<(), String> {
        let ports = &self.ports[0];
        if inputs.len() != ports.len() {
            return Err(format!(
                "it takes {} inputs and was given {}",
                ports.len(),
                inputs.len()
            ));
        }
        for (input, port) in inputs.iter().zip(ports) {
            let fits = input.shape.len() == port.dims.len()
                && input
                    .shape
                    .iter()
                    .zip(&port.dims)
                    .all(|(&size, dim)| dim.is_none_or(|d| d == size));
            if !fits || elements(&input.shape) != Some(input.data.len()) || input.data.is_empty() {
                return Err(format!(
                    "its input `{}` has the sizes {} and was given {:?}",
                    port.name, port, input.shape
                ));
            }
            limited(&input.shape)?;
        }
        Ok(())
    }

    fn step(&self, step: &Step<B>, values: &[Option<Value<B>>]) -> Result<Vec<Value<B>>, String> {
        let inputs = Inputs(
            step.inputs
                .iter()
                .map(|id| values[(*id)?].as_ref())
                .collect(),
        );
        let place = Place::<B> {
            device: &self.device,
            store: &self.store,
        };
        let tensor = |index: usize| {
            let value = inputs
                .0
                .get(index)
                .copied()
                .flatten()
                .ok_or("an input is missing")?;
            Ok::<_, String>((value.sizes(), value.device(&self.device)?))
        };
        match &step.action {
            Action::Operator(operator) => place.execute(operator, &inputs, step.outputs.len()),
            Action::ScaleShift(scale, shift) => {
                let (sizes, input) = tensor(0)?;
                if sizes.get(1) != Some(&scale.len()) {
                    return Err(format!(
                        "an input of {sizes:?} does not fit {}",
                        scale.len()
                    ));
                }
                Ok(vec![Value::Device(B::scale_shift(
                    input,
                    scale,
                    shift,
                    &self.store,
                ))])
            }
            Action::Conv(conv) => {
                let residual = if step.inputs.len() > 1 {
                    Some(tensor(1)?)
                } else {
                    None
                };
                let (sizes, input) = tensor(0)?;
                Ok(vec![Value::Device(
                    self.conv(conv, &sizes, input, residual)?,
                )])
            }
        }
    }

    fn conv(
        &self,
        step: &ConvStep<B>,
        sizes: &[usize],
        mut input: B::FloatTensorPrimitive,
        residual: Option<(Vec<usize>, B::FloatTensorPrimitive)>,
    ) -> Result<B::FloatTensorPrimitive, String> {
        let [n, c, mut h, mut w] = pictures(sizes)?;
        if c != step.inputs {
            return Err(format!(
                "it takes {} channels and was given {c}",
                step.inputs
            ));
        }
        let settled = settle(&step.window, step.padding, step.window.kernel, h, w)?;
        limited(&settled.bordered([n, c, h, w]))?;
        if step.padding != Padding::Given {
            let Border {
                top,
                left,
                bottom,
                right,
            } = settled.border;
            let amounts = [(0, 0), (0, 0), (top, bottom), (left, right)];
            (h, w) = (h + top + bottom, w + left + right);
            input = plain::pad::<B>(input, &amounts, Fill::Constant, 0.0);
        }
        let [rows, columns] = step.window.output(h, w).unwrap_or([0, 0]);
        let shape = [n, step.outputs, rows, columns];
        limited(&shape)?;
        let residual = match residual {
            None => None,
            Some((sizes, tensor)) if sizes == shape => Some(tensor),
            Some((sizes, tensor)) => {
                // The sum was to be broadcast; the convolution makes one picture, so the other side
                // has to become as large.
                if broadcast(&sizes, &shape)? != shape {
                    return Err(format!("adding {sizes:?} to {shape:?} is not supported"));
                }
                Some(B::float_expand(
                    ranked::<B>(tensor, shape.len()),
                    burn::tensor::Shape::from(shape.to_vec()),
                ))
            }
        };
        Ok(B::conv(&step.conv, input, residual, &self.store))
    }
}
