//! From the rules of ONNX's `Resize` to the inputs that each output place is mixed from.

use super::host::Host;
use super::operator::{Nearest, Place};
use super::spec::Mix;

/// How places are found and mixed.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Between two inputs, or the nearest one.
    pub linear: bool,
    /// How a place is found.
    pub place: Place,
    /// Which input is the nearest.
    pub nearest: Nearest,
}

/// Rows and columns for pictures of these sizes, from either factors or sizes for all four axes.
pub fn mixes(
    rule: Rule,
    from: [usize; 4],
    factors: Option<&Host>,
    sizes: Option<&[i64]>,
) -> Result<[Mix; 2], String> {
    let factors: Option<Vec<f32>> = match factors {
        Some(host) => Some(host.as_floats()?.to_vec()),
        None => None,
    };
    let mut mixes = Vec::new();
    for (axis, &size) in from.iter().enumerate() {
        let (factor, to) = match (&factors, sizes) {
            (Some(factors), _) if factors.len() == 4 => {
                let factor = factors[axis];
                if !(factor.is_finite() && factor > 0.0) {
                    return Err(format!("it scales by {factor}"));
                }
                (factor, (size as f32 * factor).floor())
            }
            (None, Some(sizes)) if sizes.len() == 4 => {
                (sizes[axis] as f32 / size as f32, sizes[axis] as f32)
            }
            _ => return Err("it has neither four scales nor four sizes".into()),
        };
        if !(1.0..=MAX_SIDE).contains(&to) {
            return Err(format!("it would make {to} of {size}"));
        }
        let to = to as usize;
        if axis < 2 && to != size {
            return Err("only the height and width of pictures can be resized".into());
        }
        if axis >= 2 {
            mixes.push(mix(rule, size, to, factor));
        }
    }
    let columns = mixes.pop().ok_or("it has no columns")?;
    let rows = mixes.pop().ok_or("it has no rows")?;
    Ok([rows, columns])
}

/// Longest side of a resized picture.
const MAX_SIDE: f32 = 65_536.0;

fn mix(rule: Rule, size: usize, to: usize, factor: f32) -> Mix {
    let last = size - 1;
    let at = |output: usize| {
        let x = output as f32;
        match rule.place {
            Place::Asymmetric => x / factor,
            Place::PytorchHalfPixel if to == 1 => 0.0,
            Place::HalfPixel | Place::PytorchHalfPixel => (x + 0.5) / factor - 0.5,
            Place::AlignCorners if to == 1 => 0.0,
            Place::AlignCorners => x * last as f32 / (to - 1) as f32,
        }
    };
    let tap = |output: usize| {
        let place = at(output);
        if rule.linear {
            let place = place.clamp(0.0, last as f32);
            let first = (place.floor() as usize).min(last);
            return (first, (first + 1).min(last), place - first as f32);
        }
        let place = match rule.nearest {
            Nearest::Floor => place.floor(),
            Nearest::Ceil => place.ceil(),
            Nearest::PreferFloor => (place - 0.5).ceil(),
            Nearest::PreferCeil => (place + 0.5).floor(),
        };
        let place = place.clamp(0.0, last as f32) as usize;
        (place, place, 0.0)
    };
    Mix {
        taps: (0..to).map(tap).collect(),
    }
}
