//! The networks of a checkpoint on one backend.

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::Tensor;

use super::control::{OnDevice, Ready};
use super::guard::guarded;
use super::lora::Merges;
use super::pictures::{from_numbers, latents_of, latents_to_maps, numbers_of, to_maps};
use super::sampler::Sampler;
use super::text::{self, FindVectors};
use super::{Control, DiffusionError, Flow, Job, Latents, LoraUse, Stage, Text, Watch};
use crate::imaging::RgbImage;
use crate::models::clip::TextEncoder;
use crate::models::controlnet::ControlNet;
use crate::models::lora::{self, Layer, Network};
use crate::models::nn::{Kernels, Layers, Maps, Place, Precision};
use crate::models::prompt::{Chunk, Emphasis};
use crate::models::sampling::Prediction;
use crate::models::unet::Unet;
use crate::models::vae::{Decoder, Encoder, TileError, Tiling, decode_tiled, encode_tiled};
use crate::models::weights::{Checkpoint, Part, VaeConfig};

/// A backend with a way to find its own networks among those of all.
pub(super) trait Home: Kernels {
    /// The ControlNet, if it lives here.
    fn control_net(net: &OnDevice) -> Option<&ControlNet<Self>>;
}

impl Home for burn::backend::Flex {
    fn control_net(net: &OnDevice) -> Option<&ControlNet<Self>> {
        match net {
            OnDevice::Cpu(net) => Some(net),
            OnDevice::General(_) => None,
        }
    }
}

impl Home for burn::Dispatch {
    fn control_net(net: &OnDevice) -> Option<&ControlNet<Self>> {
        match net {
            OnDevice::Cpu(_) => None,
            OnDevice::General(net) => Some(net),
        }
    }
}

/// The files that variants are made from.
pub(super) struct Files {
    pub(super) checkpoint: Checkpoint,
    /// Takes the place of the checkpoint's own.
    pub(super) vae: Option<Part<VaeConfig>>,
}

/// The networks. Clones share their weights.
pub(super) struct Studio<B: Home> {
    name: String,
    place: Place<B>,
    picture_place: Place<B>,
    files: Arc<Files>,
    text: TextEncoder<B>,
    text_layers: Arc<Layers<B>>,
    unet: Unet<B>,
    unet_layers: Arc<Layers<B>>,
    encoder: Encoder<B>,
    decoder: Decoder<B>,
}

impl<B: Home> Studio<B> {
    /// Loads all networks.
    pub(super) fn open(
        files: Files,
        place: Place<B>,
        name: String,
    ) -> Result<Self, DiffusionError> {
        let checkpoint = &files.checkpoint;
        let text = &checkpoint.text;
        let (encoder, text_layers) = Layers::load(&text.source(), place.clone(), |builder| {
            TextEncoder::new(builder, &text.config)
        })?;
        let unet = &checkpoint.unet;
        let (network, unet_layers) = Layers::load(&unet.source(), place.clone(), |builder| {
            Unet::new(builder, &unet.config)
        })?;
        // 16-bit floats with the range of 16 bits overflow in the decoders of some checkpoints.
        let picture_place = match place.precision {
            Precision::Float16 => Place {
                precision: Precision::Full,
                ..place.clone()
            },
            _ => place.clone(),
        };
        let vae = files.vae.as_ref().unwrap_or(&checkpoint.vae);
        let ((vae_encoder, decoder), _) =
            Layers::load(&vae.source(), picture_place.clone(), |builder| {
                Ok((
                    Encoder::new(builder, &vae.config)?,
                    Decoder::new(builder, &vae.config)?,
                ))
            })?;
        Ok(Self {
            name,
            place,
            picture_place,
            text: encoder,
            text_layers: Arc::new(text_layers),
            unet: network,
            unet_layers: Arc::new(unet_layers),
            encoder: vae_encoder,
            decoder,
            files: Arc::new(files),
        })
    }

    /// The same with LoRAs in it. What they do not touch is shared.
    pub(super) fn with_loras(&self, uses: &[LoraUse]) -> Result<Self, DiffusionError> {
        let checkpoint = &self.files.checkpoint;
        let known = [
            (Network::Unet, &self.unet_layers),
            (Network::Text, &self.text_layers),
        ];
        let known = known.into_iter().flat_map(|(network, layers)| {
            layers.shapes().iter().map(move |(path, shape)| {
                let path = path.clone();
                (Layer { network, path }, shape.clone())
            })
        });
        let blocks = checkpoint.unet.config.layers_per_block;
        let known = lora::Layers::new(known, blocks)
            .map_err(|error| DiffusionError::Request(error.to_string()))?;
        let merges = Merges::read(uses, &known)?;
        let text = self.text_layers.updated(
            &checkpoint.text.source(),
            &merges.of(Network::Text),
            |builder| TextEncoder::new(builder, &checkpoint.text.config),
        )?;
        let unet = self.unet_layers.updated(
            &checkpoint.unet.source(),
            &merges.of(Network::Unet),
            |builder| Unet::new(builder, &checkpoint.unet.config),
        )?;
        Ok(Self {
            text,
            unet,
            ..self.clone()
        })
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// The name of its device.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where UNet and text encoder run.
    pub(super) fn place(&self) -> &Place<B> {
        &self.place
    }

    /// Where the autoencoder runs.
    pub(super) fn picture_place(&self) -> &Place<B> {
        &self.picture_place
    }

    /// Pictures to latents.
    pub(super) fn encoder(&self) -> &Encoder<B> {
        &self.encoder
    }

    /// See [`super::Painter::encode_text`].
    pub(super) fn encode_text(
        &self,
        chunks: &[Chunk],
        find: FindVectors<'_>,
        clip_skip: usize,
        emphasis: Emphasis,
    ) -> Result<Text, DiffusionError> {
        guarded::<B, _>(&self.place.device, &self.name, || {
            text::encode(
                &self.text,
                &self.place,
                chunks,
                find,
                clip_skip,
                emphasis,
                &self.name,
            )
        })
    }

    /// See [`super::Painter::sample`].
    pub(super) fn sample(
        &self,
        job: &mut Job<'_>,
        prediction: Prediction,
        watch: &mut dyn Watch,
        preview: &dyn Fn(&Latents) -> Result<Vec<RgbImage>, DiffusionError>,
    ) -> Result<Latents, DiffusionError> {
        let noise = job.noise.clone();
        guarded::<B, _>(&self.place.device, &self.name, || {
            // A second try begins with the same noise as the first.
            *job.noise = noise.clone();
            let controls = self.ready(job.controls)?;
            let preview = |maps: Maps<B>, watch: &mut dyn Watch| {
                watch.preview(preview(&latents_of(maps, &self.name)?)?);
                Ok(())
            };
            let sampler = Sampler {
                unet: &self.unet,
                place: &self.place,
                prediction,
                controls,
                preview: &preview,
            };
            latents_of(sampler.run(job, watch)?, &self.name)
        })
    }

    fn ready<'a>(&self, controls: &'a [Control]) -> Result<Vec<Ready<'a, B>>, DiffusionError> {
        let ready = |control: &'a Control| {
            let net = B::control_net(&control.net.net).ok_or_else(|| {
                DiffusionError::Request(String::from(
                    "a ControlNet was loaded for another device than the checkpoint",
                ))
            })?;
            Ok(Ready::new(net, control, &self.place))
        };
        controls.iter().map(ready).collect()
    }

    /// See [`super::Painter::encode`].
    pub(super) fn encode(
        &self,
        pictures: &[RgbImage],
        noise: Option<&Latents>,
        watch: &mut dyn Watch,
    ) -> Result<Latents, DiffusionError> {
        guarded::<B, _>(&self.place.device, &self.name, || {
            let maps = to_maps(pictures, &self.picture_place, -1.0, 1.0);
            let mut between = between(watch, Stage::Encode);
            let posterior = encode_tiled(&self.encoder, maps, Tiling::default(), &mut between)
                .map_err(|error| self.tile_error(error))?;
            let latents = match noise {
                Some(noise) => {
                    let noise: Maps<B> = latents_to_maps(noise, &self.place.device);
                    posterior.sample(noise.cast(self.picture_place.precision.dtype()))
                }
                None => posterior.mode(),
            };
            latents_of(latents, &self.name)
        })
    }

    /// See [`super::Painter::decode`].
    pub(super) fn decode(
        &self,
        latents: &Latents,
        watch: &mut dyn Watch,
    ) -> Result<Vec<RgbImage>, DiffusionError> {
        guarded::<B, _>(&self.place.device, &self.name, || {
            let [count, ..] = latents.sizes;
            let maps: Maps<B> = latents_to_maps(latents, &self.place.device);
            let mut pictures = Vec::with_capacity(count);
            // One after another: a batch would need the memory of all at once.
            for index in 0..count {
                let one = maps.clone().narrow(0, index, 1);
                let one = one.cast(self.picture_place.precision.dtype());
                let mut between = between(watch, Stage::Decode);
                let decoded = decode_tiled(&self.decoder, one, Tiling::default(), &mut between)
                    .map_err(|error| self.tile_error(error))?;
                let sizes = Tensor::dims(&decoded);
                let numbers = numbers_of(decoded, &self.name)?;
                if numbers.iter().any(|number| number.is_nan()) {
                    return Err(DiffusionError::Device {
                        device: self.name.clone(),
                        reason: String::from(
                            "the decoder gave no numbers; take another VAE, or full precision",
                        ),
                    });
                }
                pictures.extend(from_numbers(&numbers, sizes, -1.0, 1.0));
            }
            Ok(pictures)
        })
    }

    fn tile_error(&self, error: TileError) -> DiffusionError {
        match error {
            TileError::Stopped => DiffusionError::Stopped,
            TileError::Device(error) => DiffusionError::Device {
                device: self.name.clone(),
                reason: format!("{error:?}"),
            },
        }
    }
}

impl<B: Home> Clone for Studio<B> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            place: self.place.clone(),
            picture_place: self.picture_place.clone(),
            files: Arc::clone(&self.files),
            text: self.text.clone(),
            text_layers: Arc::clone(&self.text_layers),
            unet: self.unet.clone(),
            unet_layers: Arc::clone(&self.unet_layers),
            encoder: self.encoder.clone(),
            decoder: self.decoder.clone(),
        }
    }
}

/// Asks between tiles whether to go on. Tiles that are begun are finished, except when nobody wants
/// the result.
fn between(watch: &mut dyn Watch, stage: Stage) -> impl FnMut(usize, usize) -> ControlFlow<()> {
    move |done, total| match watch.step(stage, done, total) {
        Flow::Go | Flow::Finish => ControlFlow::Continue(()),
        Flow::Stop => ControlFlow::Break(()),
    }
}
