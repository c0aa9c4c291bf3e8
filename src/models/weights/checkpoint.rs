//! Which networks a file or folder holds, with their configurations.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::config::{
    ControlNetConfig, FieldError, Fields, PredictionType, SchedulerConfig, TaesdConfig, TextConfig,
    UnetConfig, VaeConfig,
};
use super::container::{Container, is_pickle};
use super::folder::Folder;
use super::header::PICKLE;
use super::kinds;
use super::layout::{Layout, Network};
use super::source::Source;
use super::{WeightsError, shown};
use crate::models::place::{Place, not_there, packed};
use crate::pack::PackedFile;

/// Pipelines of diffusers that share the networks of `StableDiffusionPipeline`.
const PIPELINES: [&str; 6] = [
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionControlNetPipeline",
    "StableDiffusionControlNetImg2ImgPipeline",
    "StableDiffusionControlNetInpaintPipeline",
];
/// The name of a folder's LoRA, as diffusers writes it.
const LORA_FILE: &str = "pytorch_lora_weights.safetensors";

/// What was opened.
pub enum Files {
    /// All networks that make pictures from text.
    Checkpoint(Box<Checkpoint>),
    /// A VAE alone, which can take the place of a checkpoint's own.
    Vae(Part<VaeConfig>),
    /// A ControlNet.
    ControlNet(Box<Part<ControlNetConfig>>),
    /// A small VAE for previews.
    Taesd(Part<TaesdConfig>),
    /// Changes to the weights of a checkpoint.
    Lora(Arc<Container>),
    /// Tokens that were learned (textual inversion).
    Embedding(Arc<Container>),
}

/// The networks of a checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    /// Takes noise out of latents.
    pub unet: Part<UnetConfig>,
    /// Turns pictures into latents and back.
    pub vae: Part<VaeConfig>,
    /// Turns tokens into what steers the UNet.
    pub text: Part<TextConfig>,
    /// The noise of the training, and what the UNet's output means.
    pub scheduler: SchedulerConfig,
    /// The checkpoint's own tokenizer; single files have none and use that of CLIP.
    pub tokenizer: Option<TokenizerFiles>,
}

/// The files of a tokenizer, as texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerFiles {
    /// `vocab.json`: a JSON object of tokens and their numbers.
    pub vocab: String,
    /// `merges.txt`: which pairs are joined, the first ones first.
    pub merges: String,
}

/// One network: its configuration, and where its weights are. It may be shared by threads.
#[derive(Debug)]
pub struct Part<C> {
    /// Widths, depths and constants.
    pub config: C,
    container: Arc<Container>,
    layout: Arc<Layout>,
}

impl<C> Part<C> {
    pub(super) fn new(config: C, container: &Arc<Container>, layout: Layout) -> Self {
        Self {
            config,
            container: Arc::clone(container),
            layout: Arc::new(layout),
        }
    }

    /// What a constructor reads the weights from.
    pub fn source(&self) -> Source {
        Source::new(Arc::clone(&self.container), Arc::clone(&self.layout))
    }

    /// The file.
    pub fn container(&self) -> &Container {
        &self.container
    }
}

impl Files {
    /// Opens a `.safetensors` file, or a folder as diffusers writes it: that of a pipeline, or of
    /// one network. What it is follows from the names of its tensors or its `config.json`.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let metadata = std::fs::metadata(path).map_err(|error| WeightsError::Read {
            file: path.display().to_string(),
            reason: error.to_string(),
        })?;
        if metadata.is_dir() {
            return Self::from_folder(&Folder::disk(path));
        }
        if is_pickle(path) {
            return Err(WeightsError::refused(&path.display().to_string(), PICKLE));
        }
        kinds::from_container(Container::open(path)?)
    }

    /// Opens what is at a place. Of a pack it is read where it is, without a copy.
    pub fn at(place: &Place) -> Result<Self, WeightsError> {
        let (pack, path) = match place {
            Place::Disk(path) => return Self::open(path),
            Place::Pack(pack, path) => (*pack, path),
        };
        let files = packed(pack, path);
        if files.is_empty() {
            return Err(WeightsError::Read {
                file: place.to_string(),
                reason: not_there().to_string(),
            });
        }
        let borrowed = |(name, file): (String, PackedFile)| (name, Cow::Borrowed(file.bytes));
        Self::from_memory(&place.to_string(), files.into_iter().map(borrowed))
    }

    /// Reads files that are in memory: one `.safetensors` file, or those of a folder by their paths
    /// inside of it, with `/` between the parts. `name` stands in errors.
    pub fn from_memory(
        name: &str,
        files: impl IntoIterator<Item = (String, Cow<'static, [u8]>)>,
    ) -> Result<Self, WeightsError> {
        let files = files
            .into_iter()
            .map(|(path, bytes)| (path, Arc::new(bytes)));
        let folder = Folder::memory(name, files.collect());
        match folder.only_weights()? {
            Some(container) => kinds::from_container(container),
            None => Self::from_folder(&folder),
        }
    }

    fn from_folder(folder: &Folder) -> Result<Self, WeightsError> {
        let index = folder.object("model_index.json")?;
        let own = folder.object("config.json")?;
        if let (None, Some(object)) = (&index, own) {
            return Self::from_network(folder, object);
        }
        let has_unet = folder.sub("unet").has("config.json");
        if index.is_none() && !has_unet {
            if let Some(lora) = folder.container(LORA_FILE)? {
                return kinds::from_container(lora);
            }
            return Err(WeightsError::refused(
                &folder.shown(""),
                "it is no folder of a diffusers model (neither model_index.json, unet/config.json \
                 nor config.json is in it); name a .safetensors file, or the folder of a model",
            ));
        }
        let class = index.as_ref().and_then(|index| index.get("_class_name"));
        check_pipeline(folder, class)?;
        Checkpoint::from_folder(folder).map(|found| Self::Checkpoint(Box::new(found)))
    }

    /// The folder of one network, whose `config.json` this is.
    fn from_network(folder: &Folder, object: Map<String, Value>) -> Result<Self, WeightsError> {
        let class = object.get("_class_name").and_then(Value::as_str);
        let class = class.unwrap_or_default().to_owned();
        match class.as_str() {
            "AutoencoderKL" => vae(folder).map(Self::Vae),
            "ControlNetModel" => control_net(folder, object)
                .map(Box::new)
                .map(Self::ControlNet),
            // Its depths are fixed, so shapes tell all.
            "AutoencoderTiny" => kinds::from_container(weights(folder)?),
            _ => {
                let what = match object.get("model_type").and_then(Value::as_str) {
                    Some(model) => shown(model),
                    None => shown(&class),
                };
                Err(WeightsError::unsupported(
                    &folder.shown(""),
                    format!(
                        "it holds one network of the kind `{what}`; name the folder of the whole \
                         model, or that of a VAE or ControlNet"
                    ),
                ))
            }
        }
    }
}

impl Checkpoint {
    /// The networks of a pipeline's folder.
    fn from_folder(folder: &Folder) -> Result<Self, WeightsError> {
        let found = Self {
            unet: unet(&folder.sub("unet"))?,
            vae: vae(&folder.sub("vae"))?,
            text: text(&folder.sub("text_encoder"))?,
            scheduler: scheduler(&folder.sub("scheduler"))?,
            tokenizer: tokenizer(&folder.sub("tokenizer"))?,
        };
        found.check(&folder.shown(""))?;
        Ok(found)
    }

    /// Sides in pixels of the pictures that it was trained with.
    pub fn native_side(&self) -> usize {
        self.unet.config.sample_size * self.vae.config.downscale()
    }

    /// What the UNet's output means.
    pub fn prediction_type(&self) -> PredictionType {
        self.scheduler.prediction_type
    }

    /// That the networks fit together, and that photog knows what the UNet wants to see.
    pub(super) fn check(&self, file: &str) -> Result<(), WeightsError> {
        let (unet, latents) = (&self.unet.config, self.vae.config.latent_channels);
        let (wanted, given) = (unet.cross_attention_dim, self.text.config.hidden_size);
        if wanted != given {
            let reason = format!(
                "its UNet wants texts of width {wanted} and its text encoder gives {given}; \
                 the parts are of different models"
            );
            return Err(WeightsError::refused(file, reason));
        }
        let kind = match unet.in_channels {
            channels if channels == latents || channels == 2 * latents + 1 => None,
            channels if channels == 2 * latents => Some(String::from(
                "a model that edits by instruction (InstructPix2Pix)",
            )),
            channels if channels == latents + 1 => Some(String::from(
                "a model that is steered by depth (SD 2 depth)",
            )),
            channels => Some(format!("a UNet of {channels} input channels")),
        };
        if let Some(kind) = kind {
            let reason = format!(
                "it is {kind}, which photog does not run; take a model of SD 1.x for text to \
                 picture, or for inpainting"
            );
            return Err(WeightsError::unsupported(file, reason));
        }
        if unet.out_channels != latents {
            let reason = format!(
                "its UNet gives {} channels and its VAE has {latents}",
                unet.out_channels
            );
            return Err(WeightsError::refused(file, reason));
        }
        Ok(())
    }
}

/// That the pipeline is one whose networks are known; `class` is that of its index.
fn check_pipeline(folder: &Folder, class: Option<&Value>) -> Result<(), WeightsError> {
    let class = class.and_then(Value::as_str);
    let family = match class {
        Some(class) if class.contains("XL") => Some("SDXL"),
        Some(class) if class.starts_with("StableDiffusion3") => Some("Stable Diffusion 3"),
        Some(class) if class.starts_with("Flux") => Some("Flux"),
        _ if folder.sub("text_encoder_2").has("config.json") => Some("SDXL"),
        Some(class) if !PIPELINES.contains(&class) => Some(class),
        _ => None,
    };
    match family {
        None => Ok(()),
        Some(family) => Err(kinds::other_family(&folder.shown(""), &shown(family))),
    }
}

fn unet(folder: &Folder) -> Result<Part<UnetConfig>, WeightsError> {
    let fields = Fields::new(config(folder)?);
    let config = UnetConfig::read(&fields, &UnetConfig::diffusers_default());
    let config = config.map_err(|error| field_error(&folder.shown("config.json"), error))?;
    let container = Arc::new(weights(folder)?);
    Ok(Part::new(config, &container, Layout::equal(Network::Unet)))
}

fn vae(folder: &Folder) -> Result<Part<VaeConfig>, WeightsError> {
    let fields = Fields::new(config(folder)?);
    let config = VaeConfig::read(&fields, &VaeConfig::diffusers_default());
    let config = config.map_err(|error| field_error(&folder.shown("config.json"), error))?;
    let container = Arc::new(weights(folder)?);
    let layout = Layout::diffusers_vae("", &container);
    Ok(Part::new(config, &container, layout))
}

fn text(folder: &Folder) -> Result<Part<TextConfig>, WeightsError> {
    let fields = Fields::new(config(folder)?);
    let config = TextConfig::read(&fields, &TextConfig::transformers_default());
    let config = config.map_err(|error| field_error(&folder.shown("config.json"), error))?;
    let container = Arc::new(weights(folder)?);
    let layout = Layout::text("", &container);
    Ok(Part::new(config, &container, layout))
}

fn control_net(
    folder: &Folder,
    object: Map<String, Value>,
) -> Result<Part<ControlNetConfig>, WeightsError> {
    let fields = Fields::new(object);
    let config = ControlNetConfig::read(&fields, &ControlNetConfig::diffusers_default());
    let config = config.map_err(|error| field_error(&folder.shown("config.json"), error))?;
    let container = Arc::new(weights(folder)?);
    let layout = Layout::equal(Network::ControlNet);
    Ok(Part::new(config, &container, layout))
}

fn scheduler(folder: &Folder) -> Result<SchedulerConfig, WeightsError> {
    let file = "scheduler_config.json";
    let Some(object) = folder.object(file)? else {
        return Ok(SchedulerConfig::default());
    };
    let base = SchedulerConfig::diffusers_default();
    SchedulerConfig::read(&Fields::new(object), &base)
        .map_err(|error| field_error(&folder.shown(file), error))
}

fn tokenizer(folder: &Folder) -> Result<Option<TokenizerFiles>, WeightsError> {
    let (vocab, merges) = (folder.text("vocab.json")?, folder.text("merges.txt")?);
    match (vocab, merges) {
        (Some(vocab), Some(merges)) => Ok(Some(TokenizerFiles { vocab, merges })),
        (None, None) => Ok(None),
        _ => Err(WeightsError::refused(
            &folder.shown(""),
            "only one of vocab.json and merges.txt is there; download both",
        )),
    }
}

/// The `config.json` of a network, which has to be there.
fn config(folder: &Folder) -> Result<Map<String, Value>, WeightsError> {
    folder.object("config.json")?.ok_or_else(|| {
        let reason = "it is not there; download all files of the model";
        WeightsError::refused(&folder.shown("config.json"), reason)
    })
}

/// The weights of a network, which have to be there.
fn weights(folder: &Folder) -> Result<Container, WeightsError> {
    folder.weights()?.ok_or_else(|| {
        let reason = "no .safetensors file with a name that diffusers knows is there, such as \
                      diffusion_pytorch_model.safetensors or model.safetensors; download it";
        WeightsError::refused(&folder.shown(""), reason)
    })
}

/// The error of a field in `file`.
pub(super) fn field_error(file: &str, error: FieldError) -> WeightsError {
    match error {
        FieldError::Wrong(reason) => WeightsError::refused(file, reason),
        FieldError::NotBuilt(reason) => WeightsError::unsupported(file, reason),
    }
}
