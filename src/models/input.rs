//! From a picture to what a network takes, and from ports and tensors to what a role needs.

use crate::imaging::RgbImage;
use crate::models::ModelError;
use crate::models::backend::Device;
use crate::models::catalog::{ChannelOrder, Entry, Preprocess, Role};
use crate::models::onnx::{HostTensor, OnnxModel, Port};
use crate::models::place::Place;

/// Channels of a picture.
const CHANNELS: usize = 3;

/// A picture as a tensor of `[1, 3, height, width]` in the network's order of channels, with
/// `(value - mean) * scale` for values of 0 to 255.
///
/// Where `size`, width and height, is larger than the picture, the rest on the right and below is
/// black before mean and scale, as YuNet and InsightFace have it: so the network sees black there
/// and not its mean. What of the picture is beyond `size` is left out.
pub(super) fn planes(picture: &RgbImage, size: [usize; 2], preprocess: &Preprocess) -> HostTensor {
    let [width, height] = size;
    let columns = width.min(picture.width() as usize);
    let mut data = Vec::with_capacity(CHANNELS * width * height);
    for channel in 0..CHANNELS {
        let (mean, scale) = (preprocess.mean[channel], preprocess.scale[channel]);
        // There are but 256 values.
        let of_value: Vec<f32> = (0..=255_u8)
            .map(|value| (f32::from(value) - mean) * scale)
            .collect();
        let stored = stored(preprocess.order, channel);
        let row_samples = (picture.width() as usize * CHANNELS).max(1);
        let rows = picture.as_raw().chunks_exact(row_samples).take(height);
        let end = data.len() + width * height;
        for row in rows {
            let values = row.chunks_exact(CHANNELS).take(columns);
            data.extend(values.map(|pixel| of_value[usize::from(pixel[stored])]));
            data.extend(std::iter::repeat_n(of_value[0], width - columns));
        }
        data.resize(end, of_value[0]);
    }
    HostTensor {
        shape: vec![1, CHANNELS, height, width],
        data,
    }
}

/// Where a pixel has the channel that is a network's so many-th.
fn stored(order: ChannelOrder, channel: usize) -> usize {
    match order {
        ChannelOrder::Rgb => channel,
        ChannelOrder::Bgr => CHANNELS - 1 - channel,
    }
}

/// Opened networks of one picture: what is common to all roles.
pub(super) struct Network {
    /// The network.
    model: OnnxModel,
    /// Name of its file, for messages.
    pub(super) file: String,
    /// How a picture is prepared for it.
    pub(super) preprocess: Preprocess,
}

impl Network {
    /// Opens a file with one input and holds that against its entry.
    pub(super) fn open(
        place: &Place,
        entry: &Entry,
        role: Role,
        device: Device,
    ) -> Result<Self, ModelError> {
        Self::open_picking(place, entry, role, device, only)
    }

    /// Opens a file and holds the input that `pick` chooses as the picture's against its entry. The
    /// error of `pick` says why it takes no picture.
    pub(super) fn open_picking(
        place: &Place,
        entry: &Entry,
        role: Role,
        device: Device,
        pick: impl FnOnce(&[Port]) -> Result<&Port, String>,
    ) -> Result<Self, ModelError> {
        let refused = |reason| ModelError::Refused {
            file: entry.file.clone(),
            reason,
        };
        if entry.role != role {
            return Err(refused(format!(
                "the list of networks has it as a {}, and a {role} is asked for",
                entry.role
            )));
        }
        let model = OnnxModel::at(place, device)?;
        let Some(mut preprocess) = entry.preprocess.clone() else {
            return Err(refused(String::from("its entry lacks `preprocess`")));
        };
        preprocess.size = pick(model.inputs())
            .and_then(|input| picture_size(input, preprocess.size))
            .map_err(refused)?;
        Ok(Self {
            model,
            file: entry.file.clone(),
            preprocess,
        })
    }

    /// What it takes.
    pub(super) fn inputs(&self) -> &[Port] {
        self.model.inputs()
    }

    /// What it gives.
    pub(super) fn outputs(&self) -> &[Port] {
        self.model.outputs()
    }

    /// Runs it on a picture, which is put into the left upper corner of `size`.
    pub(super) fn run(
        &self,
        picture: &RgbImage,
        size: [u32; 2],
    ) -> Result<Vec<HostTensor>, ModelError> {
        let size = size.map(|side| side as usize);
        self.run_on(vec![planes(picture, size, &self.preprocess)])
    }

    /// Runs it on tensors in the order of its inputs.
    pub(super) fn run_on(&self, inputs: Vec<HostTensor>) -> Result<Vec<HostTensor>, ModelError> {
        self.model.run(inputs)
    }

    /// The picture that an output of channels from 0 to 1 is, `[1, 3, height, width]` in the order of
    /// channels of its input. `size` is the width and height that it has to have.
    pub(super) fn to_picture(
        &self,
        output: Option<&HostTensor>,
        size: [u32; 2],
    ) -> Result<RgbImage, ModelError> {
        let [width, height] = size.map(|side| side as usize);
        let output = output
            .filter(|output| output.shape == [1, CHANNELS, height, width])
            .ok_or_else(|| self.failed(format!("it gave no picture of {width}x{height} pixels")))?;
        if !output.data.iter().all(|number| number.is_finite()) {
            return Err(self.failed("it gave numbers that are not finite".into()));
        }
        let mut picture = RgbImage::new(size[0], size[1]);
        let planes = output.data.chunks_exact((width * height).max(1));
        for (channel, plane) in planes.enumerate() {
            let stored = stored(self.preprocess.order, channel);
            for (pixel, number) in picture.chunks_exact_mut(CHANNELS).zip(plane) {
                pixel[stored] = (number * 255.0).round().clamp(0.0, 255.0) as u8;
            }
        }
        Ok(picture)
    }

    /// The numbers of its only output, which have to be `count` and finite.
    pub(super) fn run_to_numbers(
        &self,
        picture: &RgbImage,
        size: [u32; 2],
        count: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let mut outputs = self.run(picture, size)?;
        let given = outputs.len();
        let (Some(output), 1) = (outputs.pop(), given) else {
            return Err(self.failed(format!("it gave {given} outputs where one was announced")));
        };
        if output.data.len() != count {
            return Err(self.failed(format!(
                "it gave {} numbers where {count} are needed",
                output.data.len()
            )));
        }
        if !output.data.iter().all(|number| number.is_finite()) {
            return Err(self.failed("it gave numbers that are not finite".into()));
        }
        Ok(output.data)
    }

    /// The file is not what its role needs.
    pub(super) fn refused(&self, reason: String) -> ModelError {
        ModelError::Refused {
            file: self.file.clone(),
            reason,
        }
    }

    /// What came out makes no sense.
    pub(super) fn failed(&self, reason: String) -> ModelError {
        ModelError::Run {
            file: self.file.clone(),
            reason,
        }
    }
}

/// The input of a network that takes a picture and nothing else.
fn only(inputs: &[Port]) -> Result<&Port, String> {
    match inputs {
        [input] => Ok(input),
        _ => Err(format!(
            "it has {} inputs, and one picture is all there is",
            inputs.len()
        )),
    }
}

/// The size of picture that a network takes: what its list says, or else what its file fixes; `None`
/// when any size will do. The error says why it takes no picture.
fn picture_size(input: &Port, listed: Option<[u32; 2]>) -> Result<Option<[u32; 2]>, String> {
    let [batch, channels, height, width] = input.dims[..] else {
        return Err(format!(
            "its input has {} dimensions, and a batch of pictures has four",
            input.dims.len()
        ));
    };
    let may_be = |dim: Option<usize>, size: usize| dim.is_none_or(|dim| dim == size);
    if !may_be(batch, 1) || !may_be(channels, CHANNELS) {
        return Err(String::from(
            "its input is not one picture of three channels at a time",
        ));
    }
    let Some([listed_width, listed_height]) = listed else {
        return match (width, height) {
            (None, None) => Ok(None),
            (Some(width), Some(height)) => u32::try_from(width)
                .ok()
                .zip(u32::try_from(height).ok())
                .map(|(width, height)| Some([width, height]))
                .ok_or_else(|| String::from("its pictures are too large")),
            _ => Err(String::from(
                "it fixes one side of its pictures and not the other; give `preprocess.size`",
            )),
        };
    };
    if may_be(width, listed_width as usize) && may_be(height, listed_height as usize) {
        return Ok(listed);
    }
    Err(format!(
        "its pictures have not the {listed_width}x{listed_height} pixels of `preprocess.size`"
    ))
}

/// How many numbers an output has for one picture, where that is known before running.
pub(super) fn numbers_of(port: &Port) -> Option<usize> {
    // The first dimension is the batch.
    port.dims
        .iter()
        .skip(1)
        .try_fold(1_usize, |product, dim| product.checked_mul((*dim)?))
        .filter(|_| !port.dims.is_empty())
}

/// Whether a port may hold a tensor of these sizes, as far as the file says.
pub(super) fn may_hold(port: &Port, sizes: &[usize]) -> bool {
    let fits = |(dim, size): (&Option<usize>, &usize)| dim.is_none_or(|dim| dim == *size);
    // Some files do not even say how many axes an output has.
    port.dims.is_empty()
        || (port.dims.len() == sizes.len() && port.dims.iter().zip(sizes).all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(dims: &[Option<usize>]) -> Port {
        Port {
            name: "input".into(),
            dims: dims.to_vec(),
        }
    }

    fn preprocess(order: ChannelOrder) -> Preprocess {
        Preprocess {
            size: None,
            mean: [100.0, 0.0, 0.0],
            scale: [0.5, 1.0, 2.0],
            order,
        }
    }

    #[test]
    fn a_picture_becomes_planes_in_the_order_of_the_network() {
        let picture = RgbImage::from_raw(1, 1, vec![10, 20, 30]).unwrap();
        let rgb = planes(&picture, [1, 1], &preprocess(ChannelOrder::Rgb));
        assert_eq!(rgb.shape, [1, 3, 1, 1]);
        assert_eq!(rgb.data, [-45.0, 20.0, 60.0]);
        let bgr = planes(&picture, [1, 1], &preprocess(ChannelOrder::Bgr));
        assert_eq!(bgr.data, [-35.0, 20.0, 20.0]);
    }

    #[test]
    fn the_rest_of_a_larger_input_is_black_before_the_mean() {
        let picture = RgbImage::from_raw(1, 1, vec![100, 1, 1]).unwrap();
        let padded = planes(&picture, [2, 2], &preprocess(ChannelOrder::Rgb));
        assert_eq!(padded.data[..4], [0.0, -50.0, -50.0, -50.0]);
        assert_eq!(padded.data[4..8], [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(padded.data.len(), 12);
    }

    #[test]
    fn what_lies_beyond_the_input_is_left_out() {
        let picture = RgbImage::from_raw(2, 2, (0..12).collect()).unwrap();
        let cut = planes(&picture, [1, 1], &preprocess(ChannelOrder::Rgb));
        assert_eq!(cut.data, [-50.0, 1.0, 4.0]);
        let none = planes(&RgbImage::new(0, 0), [1, 1], &preprocess(ChannelOrder::Rgb));
        assert_eq!(none.data, [-50.0, 0.0, 0.0]);
    }

    #[test]
    fn the_size_comes_from_the_list_or_the_file() {
        let free = [None; 4];
        let fixed = [Some(1), Some(3), Some(320), Some(640)];
        let cases = [
            (&free, None, None),
            (&free, Some([112, 112]), Some([112, 112])),
            (&fixed, None, Some([640, 320])),
            (&fixed, Some([640, 320]), Some([640, 320])),
        ];
        for (dims, listed, size) in cases {
            assert_eq!(picture_size(&port(dims), listed), Ok(size), "{dims:?}");
        }
    }

    #[test]
    fn an_input_that_is_no_picture_is_refused() {
        let cases: [(&[Port], _, _); 7] = [
            (&[], None, "0 inputs"),
            (&[port(&[None; 4]), port(&[None; 4])], None, "2 inputs"),
            (&[port(&[None; 3])], None, "3 dimensions"),
            (
                &[port(&[None, Some(1), None, None])],
                None,
                "three channels",
            ),
            (&[port(&[Some(8), None, None, None])], None, "at a time"),
            (&[port(&[None, None, Some(8), None])], None, "one side"),
            (
                &[port(&[None, None, Some(96), Some(96)])],
                Some([112, 112]),
                "112x112",
            ),
        ];
        for (inputs, listed, reason) in cases {
            let size = only(inputs).and_then(|input| picture_size(input, listed));
            let refused = size.unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn an_output_may_hold_what_it_leaves_open() {
        let cases: [(&[Option<usize>], bool); 5] = [
            (&[], true),
            (&[None, Some(3), None], true),
            (&[Some(1), Some(3), Some(8)], true),
            (&[None, Some(4), None], false),
            (&[None, Some(3)], false),
        ];
        for (dims, fits) in cases {
            assert_eq!(may_hold(&port(dims), &[1, 3, 8]), fits, "{dims:?}");
        }
    }

    #[test]
    fn the_numbers_of_an_output_are_counted_without_the_batch() {
        let cases: [(&[Option<usize>], Option<usize>); 6] = [
            (&[None, Some(128)], Some(128)),
            (&[Some(1), Some(64), Some(2)], Some(128)),
            (&[Some(1)], Some(1)),
            (&[], None),
            (&[None, None], None),
            (&[None, Some(usize::MAX), Some(2)], None),
        ];
        for (dims, count) in cases {
            assert_eq!(numbers_of(&port(dims)), count, "{dims:?}");
        }
    }
}
