//! The operators that are understood, with their attributes checked.
//!
//! Meanings are those of the ONNX operator list, for operator sets 7 to 22. An operator, attribute
//! or value that is not understood is an error and never ignored.

use super::attributes::Attributes;
use super::host::{Host, HostData};
use super::spec::{Border, MAX_WINDOW, Window, window_size};
use super::wire;

/// One number to one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `max(x, 0)`
    Relu,
    /// `x` or `alpha x` where it is negative.
    LeakyRelu(f32),
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `max(0, min(1, alpha x + beta))`
    HardSigmoid(f32, f32),
    /// `x max(0, min(1, x / 6 + 1 / 2))`
    HardSwish,
    /// Hyperbolic tangent.
    Tanh,
    /// e to the power of x.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `1 / x`
    Reciprocal,
    /// `-x`
    Neg,
    /// Absolute value.
    Abs,
    /// Largest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
    /// Error function.
    Erf,
}

/// Two numbers to one, with broadcasting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient; of integers, towards zero.
    Div,
    /// Power.
    Pow,
    /// The smaller one.
    Min,
    /// The larger one.
    Max,
    /// Whether both are equal.
    Equal,
    /// Whether the first is larger.
    Greater,
    /// Whether the first is smaller.
    Less,
}

/// Many numbers to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// Sum.
    Sum,
    /// Mean.
    Mean,
    /// Largest.
    Max,
    /// Smallest.
    Min,
    /// Product.
    Prod,
}

/// How an output place is found in the input while resizing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `x / scale`
    Asymmetric,
    /// `(x + 1/2) / scale - 1/2`
    HalfPixel,
    /// The same, but 0 where the output has one place.
    PytorchHalfPixel,
    /// The outermost places coincide.
    AlignCorners,
}

/// Which input a fractional place means when nearest is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearest {
    /// Down.
    Floor,
    /// Up.
    Ceil,
    /// Nearest, halves down.
    PreferFloor,
    /// Nearest, halves up.
    PreferCeil,
}

/// What fills the border of a padded tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// A number.
    Constant,
    /// The mirror image, without the outermost row.
    Reflect,
    /// The outermost row.
    Edge,
}

/// Border of a window: given, or what makes the output as large as the input over the stride.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Given.
    Given,
    /// An odd rest goes after.
    SameUpper,
    /// An odd rest goes before.
    SameLower,
}

/// An operator with everything that its attributes say.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// Convolution. The kernel's size may be left to the weights.
    Conv {
        window: Window,
        padding: Padding,
        groups: usize,
    },
    /// Normalisation by given statistics.
    BatchNormalization { epsilon: f32 },
    /// Normalisation of each picture's channels by their own statistics.
    InstanceNormalization { epsilon: f32 },
    /// See [`Unary`].
    Unary(Unary),
    /// Negative values by a slope that is an input.
    PRelu,
    /// Bounds as attributes (operator set 6) or as inputs.
    Clip { low: f32, high: f32 },
    /// See [`Binary`]; folds over all inputs.
    Binary(Binary),
    /// Largest of a window.
    MaxPool { window: Window, padding: Padding },
    /// Mean of a window.
    AveragePool {
        window: Window,
        padding: Padding,
        count_border: bool,
    },
    /// Mean of each channel.
    GlobalAveragePool,
    /// Largest of each channel.
    GlobalMaxPool,
    /// Change of a picture's size. `scales` is the input that holds the scales; sizes follow it.
    Resize {
        linear: bool,
        place: Place,
        nearest: Nearest,
        scales: usize,
    },
    /// Tensors after one another.
    Concat { axis: i64 },
    /// A part. None: `starts`, `ends`, `axes` and `steps` are inputs.
    Slice(Option<[Vec<i64>; 3]>),
    /// Parts. Without sizes these are an input or equal.
    Split { axis: i64, sizes: Option<Vec<i64>> },
    /// Without the given axes of length 1; none: an input, or all.
    Squeeze(Option<Vec<i64>>),
    /// With new axes of length 1; none: an input.
    Unsqueeze(Option<Vec<i64>>),
    /// Other sizes, same order.
    Reshape { allow_zero: bool },
    /// To a matrix.
    Flatten { axis: i64 },
    /// Other order of axes; none: reversed.
    Transpose(Option<Vec<i64>>),
    /// Slices by index.
    Gather { axis: i64 },
    /// The sizes of a tensor.
    Shape { start: i64, end: i64 },
    /// To another type.
    Cast { to: i32 },
    /// A tensor in the file.
    Constant(Host),
    /// A tensor of one value.
    ConstantOfShape(Host),
    /// Broadcast to a size.
    Expand,
    /// `alpha A B + beta C`
    Gemm {
        alpha: f32,
        beta: f32,
        transposed: [bool; 2],
    },
    /// Matrix product.
    MatMul,
    /// See [`Reduce`]. Without axes these are an input, or all.
    Reduce {
        kind: Reduce,
        axes: Option<Vec<i64>>,
        keep: bool,
        noop: bool,
    },
    /// Exponentials that sum to one. `flat`: over all axes from this one on.
    Softmax { axis: i64, flat: bool },
    /// A border. The amounts as attribute (operator set 2) or as input.
    Pad {
        fill: Fill,
        amounts: Option<Vec<i64>>,
        value: f32,
    },
    /// Channels into pixels. `column_first` is the mode `CRD`.
    DepthToSpace { block: usize, column_first: bool },
    /// Pixels into channels.
    SpaceToDepth { block: usize },
    /// The input itself.
    Identity,
    /// One or the other.
    Where,
    /// Numbers in equal steps.
    Range,
}

impl Operator {
    /// Reads a node's operator. The error is what is not understood about it.
    pub fn read(node: &wire::Node, opset: i64) -> Result<Self, String> {
        let mut a = Attributes::new(node)?;
        let operator = Self::from_attributes(node, opset, &mut a)?;
        a.finish()?;
        Ok(operator)
    }

    #[allow(clippy::too_many_lines)] // One line or two for each operator; parted it reads worse.
    fn from_attributes(
        node: &wire::Node,
        opset: i64,
        a: &mut Attributes<'_>,
    ) -> Result<Self, String> {
        let default_axis = if opset >= 13 { -1 } else { 1 };
        Ok(match node.op_type.as_str() {
            "Conv" => {
                let (window, padding) = window(a, false)?;
                let groups = a.count("group", 1)?;
                Self::Conv {
                    window,
                    padding,
                    groups,
                }
            }
            "BatchNormalization" => {
                a.only("training_mode", &[0])?;
                a.only("spatial", &[1])?;
                a.skip("momentum");
                Self::BatchNormalization {
                    epsilon: a.float("epsilon", 1e-5)?,
                }
            }
            "InstanceNormalization" => Self::InstanceNormalization {
                epsilon: a.float("epsilon", 1e-5)?,
            },
            "Relu" => Self::Unary(Unary::Relu),
            "LeakyRelu" => Self::Unary(Unary::LeakyRelu(a.float("alpha", 0.01)?)),
            "Sigmoid" => Self::Unary(Unary::Sigmoid),
            "HardSigmoid" => Self::Unary(Unary::HardSigmoid(
                a.float("alpha", 0.2)?,
                a.float("beta", 0.5)?,
            )),
            "HardSwish" => Self::Unary(Unary::HardSwish),
            "Tanh" => Self::Unary(Unary::Tanh),
            "Exp" => Self::Unary(Unary::Exp),
            "Log" => Self::Unary(Unary::Log),
            "Sqrt" => Self::Unary(Unary::Sqrt),
            "Reciprocal" => Self::Unary(Unary::Reciprocal),
            "Neg" => Self::Unary(Unary::Neg),
            "Abs" => Self::Unary(Unary::Abs),
            "Floor" => Self::Unary(Unary::Floor),
            "Ceil" => Self::Unary(Unary::Ceil),
            "Erf" => Self::Unary(Unary::Erf),
            "PRelu" => Self::PRelu,
            "Clip" => Self::Clip {
                low: a.float("min", f32::NEG_INFINITY)?,
                high: a.float("max", f32::INFINITY)?,
            },
            "Add" => Self::Binary(Binary::Add),
            "Sub" => Self::Binary(Binary::Sub),
            "Mul" => Self::Binary(Binary::Mul),
            "Div" => Self::Binary(Binary::Div),
            "Pow" => Self::Binary(Binary::Pow),
            "Min" => Self::Binary(Binary::Min),
            "Max" => Self::Binary(Binary::Max),
            "Equal" => Self::Binary(Binary::Equal),
            "Greater" => Self::Binary(Binary::Greater),
            "Less" => Self::Binary(Binary::Less),
            "MaxPool" => {
                a.only("storage_order", &[0])?;
                let (window, padding) = window(a, true)?;
                Self::MaxPool { window, padding }
            }
            "AveragePool" => {
                let count_border = a.flag("count_include_pad", false)?;
                let (window, padding) = window(a, true)?;
                if window.dilation != [1, 1] {
                    return Err("means of pixels that are not neighbours are not supported".into());
                }
                Self::AveragePool {
                    window,
                    padding,
                    count_border,
                }
            }
            "GlobalAveragePool" => Self::GlobalAveragePool,
            "GlobalMaxPool" => Self::GlobalMaxPool,
            "Resize" | "Upsample" => resize(node, a, opset)?,
            "Concat" => Self::Concat {
                axis: a.int("axis", 1)?,
            },
            "Slice" => Self::Slice(match a.ints("starts")? {
                None => None,
                Some(starts) => {
                    let ends = a.ints("ends")?.ok_or("the attribute `ends` is missing")?;
                    let axes = a.ints("axes")?;
                    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
                    Some([starts, ends, axes])
                }
            }),
            "Split" => {
                a.skip("num_outputs");
                Self::Split {
                    axis: a.int("axis", 0)?,
                    sizes: a.ints("split")?,
                }
            }
            "Squeeze" => Self::Squeeze(a.ints("axes")?),
            "Unsqueeze" => Self::Unsqueeze(a.ints("axes")?),
            "Reshape" => match a.ints("shape")? {
                Some(_) => return Err("sizes as an attribute are not supported".into()),
                None => Self::Reshape {
                    allow_zero: a.flag("allowzero", false)?,
                },
            },
            "Flatten" => Self::Flatten {
                axis: a.int("axis", 1)?,
            },
            "Transpose" => Self::Transpose(a.ints("perm")?),
            "Gather" => Self::Gather {
                axis: a.int("axis", 0)?,
            },
            "Shape" => Self::Shape {
                start: a.int("start", 0)?,
                end: a.int("end", i64::MAX)?,
            },
            "Cast" => {
                a.skip("saturate");
                Self::Cast {
                    to: i32::try_from(a.int("to", 0)?).unwrap_or(0),
                }
            }
            "Constant" => Self::Constant(constant(a)?),
            "ConstantOfShape" => Self::ConstantOfShape(
                a.tensor("value")?
                    .unwrap_or(Host::new(vec![1], HostData::Floats(vec![0.0]))),
            ),
            "Expand" => Self::Expand,
            "Gemm" => Self::Gemm {
                alpha: a.float("alpha", 1.0)?,
                beta: a.float("beta", 1.0)?,
                transposed: [a.flag("transA", false)?, a.flag("transB", false)?],
            },
            "MatMul" => Self::MatMul,
            "ReduceSum" => reduce(a, Reduce::Sum)?,
            "ReduceMean" => reduce(a, Reduce::Mean)?,
            "ReduceMax" => reduce(a, Reduce::Max)?,
            "ReduceMin" => reduce(a, Reduce::Min)?,
            "ReduceProd" => reduce(a, Reduce::Prod)?,
            "Softmax" => Self::Softmax {
                axis: a.int("axis", default_axis)?,
                flat: opset < 13,
            },
            "Pad" => {
                let fill = match a.text("mode", "constant")?.as_str() {
                    "constant" => Fill::Constant,
                    "reflect" => Fill::Reflect,
                    "edge" => Fill::Edge,
                    other => return Err(format!("the mode `{other}` is not supported")),
                };
                Self::Pad {
                    fill,
                    amounts: a.ints("pads")?,
                    value: a.float("value", 0.0)?,
                }
            }
            "DepthToSpace" => {
                let column_first = match a.text("mode", "DCR")?.as_str() {
                    "DCR" => false,
                    "CRD" => true,
                    other => return Err(format!("the mode `{other}` is not supported")),
                };
                Self::DepthToSpace {
                    block: block(a)?,
                    column_first,
                }
            }
            "SpaceToDepth" => Self::SpaceToDepth { block: block(a)? },
            "Identity" => Self::Identity,
            "Dropout" => {
                // While inferring it passes its input on, whatever its rate.
                a.skip("ratio");
                a.skip("seed");
                Self::Identity
            }
            "Where" => Self::Where,
            "Range" => Self::Range,
            _ => return Err("this operator is not supported".into()),
        })
    }
}

/// The side of the squares of pixels that channels become.
fn block(a: &mut Attributes<'_>) -> Result<usize, String> {
    let side = a.count("blocksize", 1)?;
    if side > MAX_WINDOW {
        return Err(format!(
            "the attribute `blocksize` is {side}, which is out of range"
        ));
    }
    Ok(side)
}

fn reduce(a: &mut Attributes<'_>, kind: Reduce) -> Result<Operator, String> {
    Ok(Operator::Reduce {
        kind,
        axes: a.ints("axes")?,
        keep: a.flag("keepdims", true)?,
        noop: a.flag("noop_with_empty_axes", false)?,
    })
}

/// Reads the attributes of a window over a picture. A kernel that is left out gets the size 0.
fn window(a: &mut Attributes<'_>, pooling: bool) -> Result<(Window, Padding), String> {
    let kernel = match a.ints("kernel_shape")? {
        None if pooling => return Err("the attribute `kernel_shape` is missing".into()),
        None => [0, 0],
        Some(sizes) => pair("kernel_shape", &sizes)?,
    };
    let stride = a
        .ints("strides")?
        .map_or(Ok([1, 1]), |sizes| pair("strides", &sizes))?;
    let dilation = a
        .ints("dilations")?
        .map_or(Ok([1, 1]), |sizes| pair("dilations", &sizes))?;
    let border = match a.ints("pads")?.as_deref() {
        None => Border::default(),
        Some(&[top, left, bottom, right]) => {
            let size = |value: i64| {
                window_size(value).ok_or_else(|| {
                    format!("the attribute `pads` holds {value}, which is out of range")
                })
            };
            Border {
                top: size(top)?,
                left: size(left)?,
                bottom: size(bottom)?,
                right: size(right)?,
            }
        }
        Some(other) => {
            return Err(format!(
                "it works on {} axes; only pictures are supported",
                other.len() / 2
            ));
        }
    };
    let padding = match a.text("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" => Padding::Given,
        "VALID" if border.is_empty() => Padding::Given,
        "SAME_UPPER" => Padding::SameUpper,
        "SAME_LOWER" => Padding::SameLower,
        other => return Err(format!("the padding `{other}` is not supported")),
    };
    let ceil = pooling && a.flag("ceil_mode", false)?;
    Ok((
        Window {
            kernel,
            stride,
            dilation,
            border,
            ceil,
        },
        padding,
    ))
}

fn pair(name: &str, sizes: &[i64]) -> Result<[usize; 2], String> {
    let &[rows, columns] = sizes else {
        let axes = sizes.len();
        return Err(format!(
            "`{name}` names {axes} axes; only pictures are supported"
        ));
    };
    let size = |value: i64| {
        let size = window_size(value).filter(|&size| size > 0);
        size.ok_or_else(|| format!("`{name}` holds {value}, which is out of range"))
    };
    Ok([size(rows)?, size(columns)?])
}

fn resize(node: &wire::Node, a: &mut Attributes<'_>, opset: i64) -> Result<Operator, String> {
    let mode = a.text("mode", "nearest")?;
    let linear = match mode.as_str() {
        "nearest" => false,
        "linear" | "bilinear" => true,
        other => return Err(format!("the mode `{other}` is not supported")),
    };
    if node.op_type == "Upsample" || opset < 11 {
        if a.has("scales") {
            return Err("scales as an attribute are not supported".into());
        }
        let (place, nearest) = (Place::Asymmetric, Nearest::Floor);
        return Ok(Operator::Resize {
            linear,
            place,
            nearest,
            scales: 1,
        });
    }
    let place = match a
        .text("coordinate_transformation_mode", "half_pixel")?
        .as_str()
    {
        "asymmetric" => Place::Asymmetric,
        "half_pixel" => Place::HalfPixel,
        "pytorch_half_pixel" => Place::PytorchHalfPixel,
        "align_corners" => Place::AlignCorners,
        other => return Err(format!("the coordinates `{other}` are not supported")),
    };
    let nearest = match a.text("nearest_mode", "round_prefer_floor")?.as_str() {
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        "round_prefer_floor" => Nearest::PreferFloor,
        "round_prefer_ceil" => Nearest::PreferCeil,
        other => return Err(format!("the rounding `{other}` is not supported")),
    };
    // These only speak of modes that are refused above.
    a.skip("cubic_coeff_a");
    a.skip("extrapolation_value");
    a.only("exclude_outside", &[0])?;
    a.only("antialias", &[0])?;
    if a.text("keep_aspect_ratio_policy", "stretch")? != "stretch" || a.has("axes") {
        return Err("only stretching along all axes is supported".into());
    }
    Ok(Operator::Resize {
        linear,
        place,
        nearest,
        scales: 2,
    })
}

fn constant(a: &mut Attributes<'_>) -> Result<Host, String> {
    if let Some(tensor) = a.tensor("value")? {
        return Ok(tensor);
    }
    if a.has("value_float") {
        return Ok(Host::new(
            vec![],
            HostData::Floats(vec![a.float("value_float", 0.0)?]),
        ));
    }
    if a.has("value_int") {
        return Ok(Host::new(
            vec![],
            HostData::Ints(vec![a.int("value_int", 0)?]),
        ));
    }
    if let Some(values) = a.ints("value_ints")? {
        return Ok(Host::new(vec![values.len()], HostData::Ints(values)));
    }
    if let Some(values) = a.floats("value_floats")? {
        return Ok(Host::new(vec![values.len()], HostData::Floats(values)));
    }
    Err("this form of constant is not supported".into())
}
