//! One operator on its inputs, wherever these lie.
//!
//! Values of a network are tensors of the device, or tensors in ordinary memory where they are part
//! of the file or of the network's shape arithmetic. An operator whose inputs all lie in ordinary
//! memory is computed there.

use super::arithmetic::{self, bounded};
use super::host::{Host, HostData, elements};
use super::kernels::{Kernels, plain};
use super::operator::Operator;
use super::value::{Inputs, Value, limited, sizes_of};
use super::wire::data_type;

/// Where operators run.
pub struct Place<'a, B: Kernels> {
    /// The device.
    pub device: &'a B::Device,
    /// Its memory that is used again.
    pub store: &'a B::Store,
}

impl<B: Kernels> Place<'_, B> {
    /// Runs an operator. The error is a reason without its place.
    pub fn execute(
        &self,
        operator: &Operator,
        inputs: &Inputs<'_, B>,
        outputs: usize,
    ) -> Result<Vec<Value<B>>, String> {
        let one = |value: Result<Value<B>, String>| value.map(|value| vec![value]);
        match operator {
            Operator::Split { axis: at, sizes } => {
                self.split(inputs, *at, sizes.as_deref(), outputs)
            }
            Operator::Shape { .. }
            | Operator::ConstantOfShape(_)
            | Operator::Cast { .. }
            | Operator::Where
            | Operator::Range
            | Operator::Identity => one(self.anywhere(operator, inputs)),
            Operator::Concat { .. }
            | Operator::Slice(_)
            | Operator::Squeeze(_)
            | Operator::Unsqueeze(_)
            | Operator::Reshape { .. }
            | Operator::Flatten { .. }
            | Operator::Transpose(_)
            | Operator::Gather { .. }
            | Operator::Expand => one(self.arrange(operator, inputs)),
            _ => one(self.compute(operator, inputs)),
        }
    }

    /// A value in ordinary memory; a small tensor is brought from the device.
    pub fn fetch(&self, value: &Value<B>) -> Result<Host, String> {
        match value.host() {
            Some(host) => Ok(host.clone()),
            None => {
                let shape = value.sizes();
                bounded(&shape)?;
                let values = plain::download::<B>(value.device(self.device)?)?;
                Ok(Host::new(shape, HostData::Floats(values)))
            }
        }
    }

    /// Operators about shapes and types.
    fn anywhere(&self, operator: &Operator, inputs: &Inputs<'_, B>) -> Result<Value<B>, String> {
        Ok(match operator {
            Operator::Shape { start, end } => {
                let sizes = inputs.need(0)?.sizes();
                let rank = sizes.len() as i64;
                let bound = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
                let (start, end) = (bound(*start), bound(*end));
                let part = sizes.get(start..end).unwrap_or(&[]);
                Value::Host(Host::ints(part.iter().map(|&size| size as i64).collect()))
            }
            Operator::ConstantOfShape(value) => {
                let shape = sizes_of(&inputs.ints(0)?.ok_or("its shape is missing")?)?;
                limited(&shape)?;
                if value.len() != 1 {
                    return Err("its value is not one number".into());
                }
                let count = elements(&shape).unwrap_or(0);
                match &value.data {
                    HostData::Floats(values) if count > arithmetic::MAX_HOST => Value::Device(
                        plain::upload::<B>(vec![values[0]; count], &shape, self.device),
                    ),
                    _ => {
                        bounded(&shape)?;
                        Value::Host(value.pick(shape, std::iter::repeat_n(0, count)))
                    }
                }
            }
            Operator::Cast {
                to: data_type::FLOAT | data_type::DOUBLE,
            } if inputs.need(0)?.host().is_none() => inputs.need(0)?.clone(),
            Operator::Cast { to } => {
                Value::Host(arithmetic::cast(&self.fetch(inputs.need(0)?)?, *to)?)
            }
            Operator::Where => {
                let need = |index| self.fetch(inputs.need(index)?);
                Value::Host(arithmetic::choose(&need(0)?, &need(1)?, &need(2)?)?)
            }
            Operator::Range => {
                let need = |index| self.fetch(inputs.need(index)?);
                Value::Host(arithmetic::range(&need(0)?, &need(1)?, &need(2)?)?)
            }
            _ => inputs.need(0)?.clone(),
        })
    }
}
