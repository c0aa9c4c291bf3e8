//! A network as a list of checked nodes in working order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use super::host::{Host, read_tensor};
use super::operator::Operator;
use super::wire::{self, data_type};
use crate::models::ModelError;

/// Most nodes of a network.
const MAX_NODES: usize = 20_000;

/// Most numbers in the file, and again in what its convolutions are packed into: 2 GiB.
pub const MAX_NUMBERS: usize = 1 << 29;

/// A value that flows between nodes, by number.
pub type ValueId = usize;

/// An input or output of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its sizes; none where any size will do.
    pub dims: Vec<Option<usize>>,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, or a made one where it has none.
    pub name: String,
    /// Its operator as the file names it.
    pub kind: String,
    /// What it does.
    pub operator: Operator,
    /// Its inputs; none where one is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Its outputs; none where nobody wants one.
    pub outputs: Vec<Option<ValueId>>,
}

/// A network.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The file's name, for messages.
    pub file: String,
    /// In an order in which every input is there before it is needed.
    pub nodes: Vec<Node>,
    /// The tensors in the file, by value; none for what is computed.
    pub constants: Vec<Option<Host>>,
    /// What has to be given.
    pub inputs: Vec<(ValueId, Port)>,
    /// What comes out.
    pub outputs: Vec<(ValueId, Port)>,
}

impl Graph {
    /// Checks a model. Tensors in other files are looked for in `folder` and nowhere else.
    pub fn new(model: wire::Model, file: &str, folder: Option<&Path>) -> Result<Self, ModelError> {
        let refuse = |reason: String| ModelError::Refused {
            file: file.into(),
            reason,
        };
        let opset = opset(&model).map_err(refuse)?;
        let graph = model
            .graph
            .ok_or_else(|| refuse("it holds no network".into()))?;
        if !model.functions.is_empty() || !graph.sparse_initializer.is_empty() {
            return Err(refuse(
                "functions and sparse weights are not supported".into(),
            ));
        }
        if graph.node.len() > MAX_NODES {
            return Err(refuse(format!("it has more than {MAX_NODES} nodes")));
        }
        let mut builder = Builder {
            ids: HashMap::new(),
            constants: Vec::new(),
            numbers: 0,
        };
        for tensor in &graph.initializer {
            let outside = external(tensor, folder).map_err(refuse)?;
            let host = read_tensor(tensor, outside.as_deref()).map_err(refuse)?;
            builder.define(&tensor.name, Some(host)).map_err(refuse)?;
        }
        let mut inputs = Vec::new();
        for info in &graph.input {
            // Old files list their weights among the inputs.
            if builder.ids.contains_key(&info.name) {
                continue;
            }
            let port = port(info).map_err(refuse)?;
            if port.dims.is_empty() {
                return Err(refuse(format!(
                    "its input `{}` does not say how many axes it has",
                    port.name
                )));
            }
            inputs.push((builder.define(&info.name, None).map_err(refuse)?, port));
        }
        let mut nodes = Vec::with_capacity(graph.node.len());
        for (index, node) in graph.node.iter().enumerate() {
            nodes.extend(builder.node(node, index, opset, file)?);
        }
        let mut outputs = Vec::new();
        for info in &graph.output {
            let Some(&id) = builder.ids.get(&info.name) else {
                return Err(refuse(format!("nothing makes its output `{}`", info.name)));
            };
            outputs.push((id, port(info).map_err(refuse)?));
        }
        if outputs.is_empty() || inputs.is_empty() {
            return Err(refuse("it has no input or no output".into()));
        }
        let constants = builder.constants;
        Ok(Self {
            file: file.into(),
            nodes,
            constants,
            inputs,
            outputs,
        }
        .pruned())
    }

    /// A new value.
    pub fn add_value(&mut self, constant: Option<Host>) -> ValueId {
        self.constants.push(constant);
        self.constants.len() - 1
    }

    /// The constant that a node's input is, if it is one.
    pub fn constant(&self, node: &Node, input: usize) -> Option<&Host> {
        self.constants[(*node.inputs.get(input)?)?].as_ref()
    }

    /// Without the nodes that no output needs.
    pub fn pruned(mut self) -> Self {
        let mut needed = vec![false; self.constants.len()];
        for (id, _) in &self.outputs {
            needed[*id] = true;
        }
        let mut keep = vec![false; self.nodes.len()];
        for (node, keep) in self.nodes.iter().zip(&mut keep).rev() {
            *keep = node.outputs.iter().flatten().any(|&id| needed[id]);
            if *keep {
                node.inputs
                    .iter()
                    .flatten()
                    .for_each(|&id| needed[id] = true);
            }
        }
        let mut keep = keep.into_iter();
        self.nodes.retain(|_| keep.next().unwrap_or(false));
        self
    }

    /// How often each value is used, outputs of the network included.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.constants.len()];
        let inputs = self
            .nodes
            .iter()
            .flat_map(|node| node.inputs.iter().flatten().copied());
        for id in inputs.chain(self.outputs.iter().map(|(id, _)| *id)) {
            uses[id] += 1;
        }
        uses
    }
}

struct Builder {
    ids: HashMap<String, ValueId>,
    constants: Vec<Option<Host>>,
    /// Numbers in all constants.
    numbers: usize,
}

impl Builder {
    fn define(&mut self, name: &str, constant: Option<Host>) -> Result<ValueId, String> {
        self.numbers += constant.as_ref().map_or(0, Host::len);
        if self.numbers > MAX_NUMBERS {
            return Err(format!(
                "its tensors have more than {MAX_NUMBERS} numbers together"
            ));
        }
        match self.ids.entry(name.into()) {
            Entry::Occupied(_) => Err(format!("the value `{name}` is made twice")),
            Entry::Vacant(entry) => {
                self.constants.push(constant);
                Ok(*entry.insert(self.constants.len() - 1))
            }
        }
    }

    /// Checks a node; none where it only is a tensor of the file.
    fn node(
        &mut self,
        node: &wire::Node,
        index: usize,
        opset: i64,
        file: &str,
    ) -> Result<Option<Node>, ModelError> {
        let name = if node.name.is_empty() {
            format!(
                "node {index}, which makes `{}`",
                node.output.first().map_or("", |name| name)
            )
        } else {
            node.name.clone()
        };
        let unsupported = |reason: String| ModelError::Unsupported {
            file: file.into(),
            node: name.clone(),
            operator: node.op_type.clone(),
            reason,
        };
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Err(unsupported(format!(
                "operators of `{}` are not supported",
                node.domain
            )));
        }
        let operator = Operator::read(node, opset).map_err(unsupported)?;
        let refuse = |reason: String| ModelError::Refused {
            file: file.into(),
            reason,
        };
        let mut inputs = Vec::with_capacity(node.input.len());
        for input in &node.input {
            inputs.push(match self.ids.get(input) {
                _ if input.is_empty() => None,
                Some(&id) => Some(id),
                None => {
                    return Err(refuse(format!(
                        "`{name}` needs the value `{input}`, which nothing before it makes: a tensor \
                         is missing, or the nodes form a cycle"
                    )));
                }
            });
        }
        let is_dropout = node.op_type == "Dropout";
        if is_dropout && let Some(Some(training)) = inputs.get(2) {
            let training = self.constants[*training].as_ref().map(Host::as_ints);
            if !matches!(training, Some(Ok([0]))) {
                return Err(unsupported("it drops numbers, as in training".into()));
            }
        }
        // Which numbers a dropout took away is asked for in training only.
        let made = if is_dropout { 1 } else { node.output.len() };
        let mut named = node.output.iter().skip(1).filter(|name| !name.is_empty());
        if !matches!(operator, Operator::Split { .. }) && !is_dropout && named.next().is_some() {
            return Err(unsupported("only its first output is supported".into()));
        }
        let (operator, mut constant) = match operator {
            Operator::Constant(host) => (None, Some(host)),
            other => (Some(other), None),
        };
        let mut outputs = Vec::with_capacity(made);
        for output in node.output.iter().take(made) {
            outputs.push(match output.as_str() {
                "" => None,
                name => Some(self.define(name, constant.take()).map_err(refuse)?),
            });
        }
        if outputs.first().is_none_or(Option::is_none) {
            return Err(refuse(format!("`{name}` has no output")));
        }
        Ok(operator.map(|operator| Node {
            name,
            kind: node.op_type.clone(),
            operator,
            inputs,
            outputs,
        }))
    }
}

/// The version of the operator set.
fn opset(model: &wire::Model) -> Result<i64, String> {
    let own = |set: &&wire::OperatorSet| matches!(set.domain.as_str(), "" | "ai.onnx");
    match model.opset_import.iter().find(own).map(|set| set.version) {
        Some(version @ 7..=22) => Ok(version),
        Some(other) => Err(format!(
            "it is written for version {other} of the ONNX operators; 7 to 22 are supported"
        )),
        None => Err("it is no ONNX file: the version of its operators is missing".into()),
    }
}

/// An input or output; only 32-bit floating point comes in and goes out.
fn port(info: &wire::ValueInfo) -> Result<Port, String> {
    let name = info.name.clone();
    let kind = info
        .r#type
        .as_ref()
        .and_then(|kind| kind.tensor_type.as_ref());
    let Some(kind) = kind else {
        return Err(format!("`{name}` is no tensor"));
    };
    if kind.elem_type != data_type::FLOAT {
        return Err(format!(
            "`{name}` does not hold 32-bit floating point numbers"
        ));
    }
    let dims = kind.shape.as_ref().map_or(&[][..], |shape| &shape.dim);
    let dims = dims
        .iter()
        .map(|dim| usize::try_from(dim.dim_value).ok().filter(|&size| size > 0));
    Ok(Port {
        name,
        dims: dims.collect(),
    })
}

/// The bytes of a tensor that lies in another file of the model's own folder.
pub fn external(tensor: &wire::Tensor, folder: Option<&Path>) -> Result<Option<Vec<u8>>, String> {
    use std::io::{Read, Seek, SeekFrom};

    const EXTERNAL: i32 = 1;
    if tensor.data_location != EXTERNAL {
        return Ok(None);
    }
    let name = &tensor.name;
    let folder = folder.ok_or_else(|| format!("`{name}` lies in another file"))?;
    let value = |key: &str| {
        tensor
            .external_data
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| entry.value.as_str())
    };
    let location = value("location").unwrap_or("");
    let plain = Path::new(location)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if location.is_empty() || !plain {
        return Err(format!(
            "`{name}` lies outside the folder of the file: {location:?}"
        ));
    }
    let number = |key: &str| match value(key).map(str::parse::<u64>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(format!("`{name}` has a damaged {key}")),
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    let inside = || -> std::io::Result<Option<Vec<u8>>> {
        let folder = folder.canonicalize()?;
        let path = folder.join(location).canonicalize()?;
        if !path.starts_with(&folder) {
            return Ok(None);
        }
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        let length = length.unwrap_or(size.saturating_sub(offset));
        let beyond = offset.checked_add(length).is_none_or(|end| end > size);
        if beyond || length > wire::MAX_FILE {
            return Err(std::io::Error::other(
                "it is shorter than the model says, or too large",
            ));
        }
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    match inside() {
        Ok(Some(bytes)) => Ok(Some(bytes)),
        Ok(None) => Err(format!(
            "`{name}` lies outside the folder of the file: {location:?}"
        )),
        Err(error) => Err(format!(
            "the file {location:?} of `{name}` cannot be read: {error}"
        )),
    }
}
