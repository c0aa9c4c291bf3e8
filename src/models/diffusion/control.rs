//! ControlNets at work.

use std::sync::Arc;

use crate::imaging::RgbImage;
use burn::Dispatch;
use burn::backend::Flex;

use super::DiffusionError;
use super::Setting;
use super::pictures;
use crate::models::controlnet::ControlNet;
use crate::models::nn::{Kernels, Layers, Maps, Place, Tokens};
use crate::models::unet::Encoded;
use crate::models::weights::{ControlNetConfig, Part};

/// Factor from one of the UNet's levels to the next shallower one when the prompt is more important
/// (sd-webui-controlnet, "soft injection").
const SOFTER: f64 = 0.825;

/// What counts more, the prompt or the hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControlMode {
    /// Both.
    #[default]
    Balanced,
    /// The prompt: the shallower the level, the less the hint says.
    Prompt,
    /// The hint: it speaks to what the picture shall show and not to what it shall not.
    Control,
}

/// A hint picture for a network that guides.
#[derive(Debug)]
pub struct Control<G = Guide> {
    /// The network.
    pub net: Arc<G>,
    /// The hint, of the picture's size.
    pub hint: RgbImage,
    /// How much it says.
    pub weight: f64,
    /// The part of the steps after which it begins to speak, 0 to 1.
    pub start: f64,
    /// The part of the steps after which it is silent, 0 to 1.
    pub end: f64,
    /// What counts more.
    pub mode: ControlMode,
}

/// A ControlNet on its device.
pub struct Guide {
    pub(super) net: OnDevice,
    bytes: u64,
}

pub(super) enum OnDevice {
    Cpu(Box<ControlNet<Flex>>),
    General(Box<ControlNet<Dispatch>>),
}

impl Guide {
    /// Loads it.
    pub fn open(part: &Part<ControlNetConfig>, setting: Setting) -> Result<Self, DiffusionError> {
        fn load<B: Kernels>(
            part: &Part<ControlNetConfig>,
            place: Place<B>,
        ) -> Result<ControlNet<B>, DiffusionError> {
            let source = part.source();
            let (net, _) = Layers::load(&source, place, |builder| {
                ControlNet::new(builder, &part.config)
            })?;
            Ok(net)
        }
        if part.config.global_pool_conditions {
            return Err(DiffusionError::Request(String::from(
                "this ControlNet looks at its hint as a whole (\"shuffle\"), which is not built; take \
                 another one",
            )));
        }
        let net = if setting.is_general() {
            OnDevice::General(Box::new(load(part, setting.general())?))
        } else {
            OnDevice::Cpu(Box::new(load(part, setting.cpu())?))
        };
        Ok(Self {
            net,
            bytes: setting.bytes_of(part.container()),
        })
    }

    /// Memory of its weights.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A hint that is ready for the steps of a run.
pub(super) struct Ready<'a, B: Kernels> {
    net: &'a ControlNet<B>,
    hint: Maps<B>,
    control: &'a Control,
}

impl<'a, B: Kernels> Ready<'a, B> {
    pub(super) fn new(net: &'a ControlNet<B>, control: &'a Control, place: &Place<B>) -> Self {
        let hint = pictures::to_maps(std::slice::from_ref(&control.hint), place, 0.0, 1.0);
        Self {
            net,
            hint: net.prepare_hint(hint),
            control,
        }
    }

    /// Whether it speaks at a step of so many.
    pub(super) fn speaks(&self, step: usize, steps: usize) -> bool {
        let part = step as f64 / steps as f64;
        self.control.weight != 0.0 && (self.control.start..=self.control.end).contains(&part)
    }

    /// What it says of latents `[b, h, w, c]`. `negative` tells for each of the batch whether it is
    /// what the picture shall not show.
    pub(super) fn says(
        &self,
        latents: Maps<B>,
        times: &[f64],
        text: &Tokens<B>,
        negative: &[bool],
    ) -> Encoded<B> {
        let Control { weight, mode, .. } = *self.control;
        let said = self.net.forward(latents, self.hint.clone(), times, text);
        let levels = said.skips.len();
        let said = match mode {
            ControlMode::Balanced => said.weighted((0..=levels).map(|_| weight)),
            ControlMode::Prompt | ControlMode::Control => said
                .weighted((0..=levels).map(|level| weight * SOFTER.powi((levels - level) as i32))),
        };
        if mode == ControlMode::Control {
            said.only(negative.iter().map(|&negative| !negative))
        } else {
            said
        }
    }
}
