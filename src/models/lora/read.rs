//! Reads a LoRA file: names first, then shapes, then numbers.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    Layer, Layers, Lora, LoraError, Tensors,
    adapter::Adapters,
    base::{check_metadata, check_module},
    error::{shown, shown_list},
    names::{Name, parse},
    parts::Module,
};

/// Most tensors of a file. LoHa on every layer of SD 1.x has under 2500.
pub const TENSORS_MAX: usize = 16_384;
/// Most numbers of all factors of a file, 2 GiB of them: seven times those of rank 128 on every
/// attention layer of SD 1.x.
pub const NUMBERS_MAX: usize = 1 << 29;

/// The modules of a file by their names, and by whether they are spelled as attention processors.
type Modules<'a> = BTreeMap<(&'a str, bool), Module<'a>>;
/// Modules with their names, by the layers that they change.
type Placed<'a> = BTreeMap<Layer, (&'a str, Module<'a>)>;

/// Reads what a file adds to the layers of `known`, whatever its spelling.
///
/// The scale of a module is its tensor `scale`; without one, its `alpha` by its rank; without that,
/// what the settings of the adapter say; and else 1. An alpha of zero counts as none.
///
/// A file is refused as a whole when a tensor of it has no meaning, a module has no layer or does not
/// fit it, a layer is changed twice, a factor is missing or not finite, or it is made for a family
/// other than SD 1.x.
pub fn read(tensors: &impl Tensors, known: &Layers) -> Result<Lora, LoraError> {
    let metadata = tensors.metadata();
    check_metadata(metadata)?;
    let placed = place(collect(tensors)?, known)?;
    let adapters = Adapters::read(tensors)?;

    let mut plans = Vec::new();
    let mut numbers = 0;
    for (layer, (name, module)) in &placed {
        let weight = known
            .shape(layer)
            .expect("modules are placed on known layers");
        let plan = module
            .plan(weight, tensors)
            .map_err(|reason| LoraError::module(name, reason))?;
        numbers += plan.numbers;
        if numbers > NUMBERS_MAX {
            let text = format!("its factors hold over {NUMBERS_MAX} numbers");
            return Err(LoraError::TooLarge(text));
        }
        plans.push((layer, name, plan));
    }
    let updates = plans.into_iter().map(|(layer, name, plan)| {
        let update = plan.load(name, layer, &adapters, tensors)?;
        Ok((layer.clone(), update))
    });
    Ok(Lora {
        updates: updates.collect::<Result<_, LoraError>>()?,
        alias: said(metadata, "ss_output_name"),
        base: said(metadata, "ss_base_model_version"),
        metadata: metadata.clone(),
    })
}

/// Gathers the tensors of each module.
fn collect<T: Tensors>(tensors: &T) -> Result<Modules<'_>, LoraError> {
    let mut modules = Modules::new();
    let mut strange = Vec::new();
    for (count, tensor) in tensors.names().enumerate() {
        if count >= TENSORS_MAX {
            let text = format!("it has over {TENSORS_MAX} tensors");
            return Err(LoraError::TooLarge(text));
        }
        check_module(tensor)?;
        match parse(tensor) {
            Name::Part {
                module,
                is_processor,
                role,
            } => modules
                .entry((module, is_processor))
                .or_default()
                .add(role, tensor)
                .map_err(|reason| LoraError::module(module, reason))?,
            Name::Refused(kind) => return Err(LoraError::unsupported(kind, tensor)),
            Name::Strange => strange.push(tensor),
        }
    }
    match (modules.is_empty(), strange.is_empty()) {
        (false, true) => Ok(modules),
        (true, true) => Err(LoraError::NotLora("it holds no tensors".into())),
        (true, false) => Err(LoraError::NotLora(format!(
            "none of its tensors is a part of one ({})",
            shown_list(&strange)
        ))),
        (false, false) => Err(LoraError::Unsupported {
            kind: "a tensor of unknown meaning".into(),
            place: shown_list(&strange),
        }),
    }
}

/// Finds the layer of each module.
fn place<'a>(modules: Modules<'a>, known: &Layers) -> Result<Placed<'a>, LoraError> {
    let total = modules.len();
    let mut placed = Placed::new();
    let mut unmatched = Vec::new();
    for ((name, is_processor), module) in modules {
        let Some(layer) = known.find(name, is_processor) else {
            unmatched.push(name);
            continue;
        };
        match placed.entry(layer.clone()) {
            Entry::Vacant(entry) => {
                entry.insert((name, module));
            }
            Entry::Occupied(entry) => {
                let reason = format!(
                    "it changes {} of the {}, as the module {} does",
                    layer.path,
                    layer.network,
                    shown(entry.get().0)
                );
                return Err(LoraError::module(name, reason));
            }
        }
    }
    if unmatched.is_empty() {
        return Ok(placed);
    }
    Err(LoraError::Unmatched {
        unmatched: unmatched.len(),
        total,
        shown: shown_list(&unmatched),
    })
}

/// What the metadata say under a key. Trainers write `None` where they have nothing to say.
fn said(metadata: &BTreeMap<String, String>, key: &str) -> Option<String> {
    let text = metadata.get(key)?.trim();
    (!text.is_empty() && text != "None").then(|| text.to_owned())
}
