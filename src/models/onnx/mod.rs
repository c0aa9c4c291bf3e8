//! Networks in ONNX files, on any device.
//!
//! A file is read ([`wire`]), checked and put in order ([`graph`], [`operator`]), relieved of what
//! can be computed beforehand ([`optimise`]), turned into steps for a device ([`plan`]), and run
//! ([`engine`]). Heights, widths and batches may differ from run to run.
//!
//! Files come from outside and are not trusted: what they claim is held against what they contain
//! before memory is asked for, what is not understood is refused by name, and no file makes this
//! module panic.

mod arithmetic;
mod arrange;
mod attributes;
mod compute;
mod cpu;
mod engine;
mod execute;
mod general;
mod graph;
mod host;
mod kernels;
mod operator;
mod optimise;
mod plan;
mod resize;
mod spec;
#[cfg(test)]
mod tests;
mod value;
mod wire;

use std::fmt;
use std::io::Read;
use std::path::Path;

use burn::Dispatch;
use burn::backend::Flex;
use prost::bytes::Bytes;

use self::engine::Engine;
use self::graph::Graph;
pub use self::graph::Port;
use super::ModelError;
use super::backend::Device;
use super::place::{Place, not_there};

/// Numbers in ordinary memory, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Sizes; their product is the count of numbers.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: Vec<f32>,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self
            .dims
            .iter()
            .map(|dim| dim.map_or("any".into(), |size| size.to_string()));
        write!(f, "[{}]", sizes.collect::<Vec<String>>().join(", "))
    }
}

/// The two ways to run a network: with the kernels of the CPU, or with Burn's own on any device.
enum Runner {
    Cpu(Engine<Flex>),
    General(Engine<Dispatch>),
}

/// A network, ready to run. It may be shared by threads.
pub struct OnnxModel(Runner);

impl OnnxModel {
    /// Reads a file. Weights in files beside it are found.
    pub fn open(path: &Path, device: Device) -> Result<Self, ModelError> {
        Self::at(&Place::from(path), device)
    }

    /// Reads the file at a place; in a pack all weights have to be in the file itself.
    pub fn at(place: &Place, device: Device) -> Result<Self, ModelError> {
        Self::build(bytes(place)?, &place.name(), beside(place), device)
    }

    /// Reads a file that is in memory; `name` is for messages.
    pub fn load(bytes: &[u8], name: &str, device: Device) -> Result<Self, ModelError> {
        Self::build(Bytes::copy_from_slice(bytes), name, None, device)
    }

    fn build(
        bytes: Bytes,
        name: &str,
        folder: Option<&Path>,
        device: Device,
    ) -> Result<Self, ModelError> {
        let graph = read(bytes, name, folder)?;
        Ok(Self(match device {
            Device::Cpu => Runner::Cpu(Engine::new(graph, burn::backend::flex::FlexDevice)?),
            Device::Cuda(_) => Runner::General(Engine::new(graph, device.dispatch())?),
        }))
    }

    /// What it takes.
    pub fn inputs(&self) -> &[Port] {
        match &self.0 {
            Runner::Cpu(engine) => &engine.ports[0],
            Runner::General(engine) => &engine.ports[0],
        }
    }

    /// What it gives.
    pub fn outputs(&self) -> &[Port] {
        match &self.0 {
            Runner::Cpu(engine) => &engine.ports[1],
            Runner::General(engine) => &engine.ports[1],
        }
    }

    /// Runs it. Inputs and outputs come in the order of [`inputs`](Self::inputs) and
    /// [`outputs`](Self::outputs).
    pub fn run(&self, inputs: Vec<HostTensor>) -> Result<Vec<HostTensor>, ModelError> {
        match &self.0 {
            // As a whole in a thread of those that share its work: they wait for each other for less
            // time than another one would wait for them.
            Runner::Cpu(engine) => rayon::scope(|_| engine.run(inputs)),
            Runner::General(engine) => engine.run(inputs),
        }
    }
}

/// The last of the weights of a file, if they have these sizes. Some networks bring numbers along that
/// none of their nodes asks for; they are known by their place in the file.
pub fn last_weights(place: &Place, shape: &[usize]) -> Result<Option<Vec<f32>>, ModelError> {
    let refuse = |reason: String| ModelError::Refused {
        file: place.name(),
        reason,
    };
    let model = wire::read(bytes(place)?).map_err(refuse)?;
    let last = model.graph.and_then(|mut graph| graph.initializer.pop());
    let is_of_shape = |tensor: &wire::Tensor| {
        let sizes = tensor.dims.iter().map(|size| usize::try_from(*size).ok());
        sizes.eq(shape.iter().map(|size| Some(*size)))
    };
    let Some(tensor) = last.filter(is_of_shape) else {
        return Ok(None);
    };
    let outside = graph::external(&tensor, beside(place)).map_err(refuse)?;
    match host::read_tensor(&tensor, outside.as_deref()) {
        Ok(host::Host {
            data: host::HostData::Floats(numbers),
            ..
        }) => Ok(Some(numbers)),
        Ok(_) => Ok(None),
        Err(reason) => Err(refuse(reason)),
    }
}

/// The folder in which a file may have its weights.
fn beside(place: &Place) -> Option<&Path> {
    let Place::Disk(path) = place else {
        return None;
    };
    // A bare name has the empty path as its parent.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    Some(folder.unwrap_or(Path::new(".")))
}

/// The bytes of the file at a place.
fn bytes(place: &Place) -> Result<Bytes, ModelError> {
    let failed = |reason: String| ModelError::Read {
        file: place.to_string(),
        reason,
    };
    let path = match place {
        Place::Disk(path) => path,
        Place::Pack(pack, path) => {
            let file = pack
                .file(path)
                .ok_or_else(|| failed(not_there().to_string()))?;
            return Ok(Bytes::from_static(file.bytes));
        }
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(wire::MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > wire::MAX_FILE {
        return Err(failed(format!(
            "it is larger than {} bytes",
            wire::MAX_FILE
        )));
    }
    Ok(bytes.into())
}

fn read(bytes: Bytes, name: &str, folder: Option<&Path>) -> Result<Graph, ModelError> {
    let refuse = |reason: String| ModelError::Refused {
        file: name.into(),
        reason,
    };
    Graph::new(wire::read(bytes).map_err(refuse)?, name, folder)
}
