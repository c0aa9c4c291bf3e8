//! The parts of one module of a file, held against the layer that it changes.

use std::collections::BTreeMap;

use super::{
    Layer, LoraError, Product, Tensors, Update,
    adapter::Adapters,
    error::shown,
    names::Role,
    update::{check_rank, matrix},
};

/// The tensors of one module, by what they are to it.
#[derive(Debug, Default)]
pub(super) struct Module<'a> {
    tensors: BTreeMap<Role, &'a str>,
}

/// A module whose shapes fit its layer.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The tensors of the factors: up and down, or those of both products of LoHa.
    factors: Vec<&'a str>,
    alpha: Option<&'a str>,
    scale: Option<&'a str>,
    rank: usize,
    weight: &'a [usize],
    /// How many numbers its factors hold.
    pub(super) numbers: usize,
}

impl<'a> Module<'a> {
    /// Adds a tensor. The reason of an error says what is there twice.
    pub(super) fn add(&mut self, role: Role, tensor: &'a str) -> Result<(), String> {
        match self.tensors.insert(role, tensor) {
            None => Ok(()),
            Some(other) => Err(format!(
                "its {} is there twice, as {} and {}",
                role.as_str(),
                shown(other),
                shown(tensor)
            )),
        }
    }

    /// Holds the shapes of the module against the weight of its layer.
    pub(super) fn plan(
        &self,
        weight: &'a [usize],
        tensors: &impl Tensors,
    ) -> Result<Plan<'a>, String> {
        let mut rank = None;
        let mut numbers = 0_usize;
        let mut factors = Vec::new();
        for &(role, is_left) in self.kind()? {
            let tensor = *self
                .tensors
                .get(&role)
                .ok_or_else(|| format!("its {} is missing", role.as_str()))?;
            let shape = shape(tensors, tensor)?;
            let found = if is_left {
                left_rank(&shape, weight)
            } else {
                right_rank(&shape, weight)
            };
            let found = found.ok_or_else(|| misfit(role, is_left, &shape, weight))?;
            check_rank(found)?;
            let expected = *rank.get_or_insert(found);
            if found != expected {
                return Err(format!(
                    "its factors have different ranks, {expected} and {found}"
                ));
            }
            // The shape fits the weight and the rank is bounded, so this is far from overflow.
            numbers += shape.iter().product::<usize>();
            factors.push(tensor);
        }
        for role in [Role::Alpha, Role::Scale] {
            if let Some(tensor) = self.tensors.get(&role)
                && shape(tensors, tensor)?.iter().any(|&size| size != 1)
            {
                return Err(format!("its {} is not a single number", role.as_str()));
            }
        }
        Ok(Plan {
            factors,
            alpha: self.tensors.get(&Role::Alpha).copied(),
            scale: self.tensors.get(&Role::Scale).copied(),
            rank: rank.unwrap_or_default(),
            weight,
            numbers,
        })
    }

    /// The factors that a module of its kind has, and whether each gives the layer's output (left) or
    /// takes its input (right).
    fn kind(&self) -> Result<&'static [(Role, bool)], String> {
        const LORA: [(Role, bool); 2] = [(Role::Up, true), (Role::Down, false)];
        const LOHA: [(Role, bool); 4] = [
            (Role::FirstA, true),
            (Role::FirstB, false),
            (Role::SecondA, true),
            (Role::SecondB, false),
        ];
        let has = |roles: &[(Role, bool)]| {
            roles
                .iter()
                .any(|(role, _)| self.tensors.contains_key(role))
        };
        match (has(&LORA), has(&LOHA)) {
            (true, false) => Ok(&LORA),
            (false, true) => Ok(&LOHA),
            (true, true) => Err("it has factors of LoRA and of LoHa".into()),
            (false, false) => Err("it has no factors, only a scale".into()),
        }
    }
}

impl Plan<'_> {
    /// Reads the numbers of the module.
    pub(super) fn load(
        &self,
        module: &str,
        layer: &Layer,
        adapters: &Adapters,
        tensors: &impl Tensors,
    ) -> Result<Update, LoraError> {
        let scale = self.find_scale(module, layer, adapters, tensors)?;
        let mut factors = self.factors.iter().map(|name| values(tensors, name));
        let mut next = || factors.next().unwrap_or_else(|| Ok(Vec::new()));
        let rank = self.rank;
        let product = if self.factors.len() == 2 {
            Product::LowRank {
                up: next()?,
                down: next()?,
                rank,
            }
        } else {
            Product::Hadamard {
                w1a: next()?,
                w1b: next()?,
                w2a: next()?,
                w2b: next()?,
                rank,
            }
        };
        Update::new(self.weight, product, scale).map_err(|reason| LoraError::module(module, reason))
    }

    /// The scale from the file's tensors, or from the adapter's settings, or 1.
    fn find_scale(
        &self,
        module: &str,
        layer: &Layer,
        adapters: &Adapters,
        tensors: &impl Tensors,
    ) -> Result<f32, LoraError> {
        let number = |name: &str| -> Result<f64, LoraError> {
            match values(tensors, name)?[..] {
                [number] => Ok(f64::from(number)),
                _ => Err(LoraError::module(
                    module,
                    "its scale is not a single number",
                )),
            }
        };
        let rank = self.rank as f64;
        let scale = match (self.scale, self.alpha) {
            (Some(scale), _) => number(scale)?,
            (None, Some(alpha)) => match number(alpha)? {
                0.0 => 1.0,
                alpha => alpha / rank,
            },
            (None, None) => adapters.scale(layer, self.rank)?.unwrap_or(1.0),
        };
        Ok(scale as f32)
    }
}

/// The rank of a factor that gives the layer's output: `[out, rank]`, also as a convolution of 1x1.
fn left_rank(shape: &[usize], weight: &[usize]) -> Option<usize> {
    match *shape {
        [out, rank] | [out, rank, 1, 1] if weight.first() == Some(&out) => Some(rank),
        _ => None,
    }
}

/// The rank of a factor that takes the layer's input: `[rank, fan_in]`, or with the sizes of the
/// weight after the first. A linear layer and a convolution of 1x1 may stand for one another.
fn right_rank(shape: &[usize], weight: &[usize]) -> Option<usize> {
    let (_, fan_in) = matrix(weight)?;
    match *shape {
        [rank, columns] if columns == fan_in => Some(rank),
        [rank, columns, 1, 1] if weight.len() == 2 && columns == fan_in => Some(rank),
        [rank, ref rest @ ..] if weight.len() == 4 && *rest == weight[1..] => Some(rank),
        _ => None,
    }
}

fn misfit(role: Role, is_left: bool, shape: &[usize], weight: &[usize]) -> String {
    let sizes = |sizes: &[usize]| {
        let sizes: Vec<_> = sizes.iter().take(8).map(usize::to_string).collect();
        sizes.join(", ")
    };
    let expected = if is_left {
        format!("[{}, rank]", sizes(&weight[..1]))
    } else {
        format!("[rank, {}]", sizes(&weight[1..]))
    };
    format!(
        "its {} has the sizes [{}], where the layer takes {expected}",
        role.as_str(),
        sizes(shape)
    )
}

fn shape(tensors: &impl Tensors, name: &str) -> Result<Vec<usize>, String> {
    tensors
        .shape(name)
        .ok_or_else(|| format!("its tensor {} is not there", shown(name)))
}

fn values(tensors: &impl Tensors, name: &str) -> Result<Vec<f32>, LoraError> {
    tensors.values(name).map_err(|reason| LoraError::Read {
        tensor: shown(name),
        reason,
    })
}
