//! What a single file holds, told by the names of its tensors.

use std::sync::Arc;

use super::checkpoint::{Checkpoint, Files, Part, field_error};
use super::config::infer::{self, Names, Shapes};
use super::config::{
    ControlNetConfig, FieldError, Fields, PredictionType, SchedulerConfig, TextConfig, UnetConfig,
    VaeConfig,
};
use super::container::Container;
use super::layout::{Layout, Network, TaesdNames, ldm};
use super::{WeightsError, shown, shown_message};

/// Parts of names by which LoRA files of all spellings can be told.
const LORA_SIGNS: [&str; 7] = [
    ".lora_down.",
    ".lora_A.",
    "_lora.down.",
    ".lora.down.",
    ".lora_linear_layer.down.",
    ".hada_w1_a",
    ".lokr_w",
];

/// What cannot be run, by the begin of some name.
const OTHERS: [(&str, &str); 13] = [
    ("conditioner.embedders.", "SDXL"),
    (
        "cond_stage_model.model.",
        "Stable Diffusion 2 as a single file",
    ),
    ("model.diffusion_model.joint_blocks.", "Stable Diffusion 3"),
    ("model.diffusion_model.double_blocks.", "Flux"),
    ("double_blocks.", "Flux"),
    (
        "transformer_blocks.",
        "a transformer without UNet, such as Flux",
    ),
    ("lora_controlnet", "Control-LoRA"),
    ("difference", "a ControlNet that is stored as a difference"),
    ("adapter.", "T2I-Adapter"),
    ("ip_adapter.", "IP-Adapter"),
    ("input_blocks.", "a UNet alone"),
    ("down_blocks.", "a UNet alone"),
    ("text_model.", "a text encoder alone"),
];

/// A name that only VAE encoders have, by both spellings.
const VAE_SIGN: &str = "encoder.conv_in.weight";

/// Tells what a file is and how its networks are built.
pub(super) fn from_container(container: Container) -> Result<Files, WeightsError> {
    let container = Arc::new(container);
    let has = |prefix: &str| container.has_prefix(prefix);
    if container.names().any(is_lora) {
        return Ok(Files::Lora(container));
    }
    let is_control = has("controlnet_cond_embedding.") || has("input_hint_block.");
    if is_control || has(ldm::CONTROL_NET) {
        return control_net(&container).map(|part| Files::ControlNet(Box::new(part)));
    }
    if has(ldm::UNET) {
        return checkpoint(&container).map(|found| Files::Checkpoint(Box::new(found)));
    }
    for prefix in [ldm::VAE, ""] {
        if has(&format!("{prefix}{VAE_SIGN}")) {
            return vae(&container, prefix).map(Files::Vae);
        }
    }
    if let Some(taesd) = taesd(&container) {
        return taesd;
    }
    if is_embedding(&container) {
        return Ok(Files::Embedding(container));
    }
    Err(unknown(&container))
}

/// That a file is of a family that photog does not run.
pub(super) fn other_family(file: &str, family: &str) -> WeightsError {
    let reason = format!("it is {family}, and photog runs Stable Diffusion 1.x; take such a model");
    WeightsError::unsupported(file, reason)
}

fn unknown(container: &Container) -> WeightsError {
    let other = OTHERS.iter().find(|(sign, _)| container.has_prefix(sign));
    if let Some((_, family)) = other {
        return other_family(container.name(), family);
    }
    let first: Vec<String> = container.names().take(3).map(shown).collect();
    let reason = if first.is_empty() {
        String::from("it holds no tensors")
    } else {
        format!(
            "its tensors ({}, …) are not those of a model that photog knows",
            first.join(", ")
        )
    };
    WeightsError::unsupported(container.name(), reason)
}

fn is_lora(name: &str) -> bool {
    LORA_SIGNS.iter().any(|sign| name.contains(sign))
}

/// Whether the file holds learned tokens: the one tensor of A1111's format, or a few of vectors
/// only, each named by its token.
fn is_embedding(container: &Container) -> bool {
    const TENSORS_MAX: usize = 4;
    let mut shapes = container.names().filter_map(|name| container.get(name));
    container.get("emb_params").is_some()
        || (1..=TENSORS_MAX).contains(&container.names().count())
            && shapes.all(|view| view.dtype.is_float() && matches!(view.shape.len(), 1 | 2))
}

fn checkpoint(container: &Arc<Container>) -> Result<Checkpoint, WeightsError> {
    let file = container.name();
    let other = OTHERS.iter().find(|(sign, _)| container.has_prefix(sign));
    if let Some((_, family)) = other {
        return Err(other_family(file, family));
    }
    for (prefix, what) in [(ldm::VAE, Network::Vae), (ldm::TEXT, Network::Text)] {
        if !container.has_prefix(prefix) {
            let reason = format!("it has no {what}; take the full file of the model");
            return Err(WeightsError::refused(file, reason));
        }
    }
    let shapes = Shapes::new(container, ldm::UNET);
    let unet = settle(
        container,
        Network::Unet,
        infer::unet(&shapes),
        UnetConfig::read,
    )?;
    let layout = Layout::ldm_unet(ldm::UNET, &unet);
    let shapes = Shapes::new(container, ldm::TEXT);
    let text = settle(
        container,
        Network::Text,
        infer::text(&shapes),
        TextConfig::read,
    )?;
    let found = Checkpoint {
        unet: Part::new(unet, container, layout),
        vae: vae(container, ldm::VAE)?,
        text: Part::new(text, container, Layout::text(ldm::TEXT, container)),
        scheduler: scheduler(container)?,
        tokenizer: None,
    };
    found.check(file)?;
    Ok(found)
}

/// A VAE whose names begin with `prefix`, in either spelling.
fn vae(container: &Arc<Container>, prefix: &str) -> Result<Part<VaeConfig>, WeightsError> {
    let has_levels = container.has_prefix(&format!("{prefix}encoder.down_blocks."));
    let names = if has_levels {
        Names::Diffusers
    } else {
        Names::Ldm
    };
    let inferred = infer::vae(&Shapes::new(container, prefix), names);
    let config = settle(container, Network::Vae, inferred, VaeConfig::read)?;
    let layout = match names {
        Names::Ldm => Layout::ldm_vae(prefix, &config),
        Names::Diffusers => Layout::diffusers_vae(prefix, container),
    };
    Ok(Part::new(config, container, layout))
}

fn control_net(container: &Arc<Container>) -> Result<Part<ControlNetConfig>, WeightsError> {
    let other = OTHERS.iter().find(|(sign, _)| {
        matches!(*sign, "lora_controlnet" | "difference") && container.has_prefix(sign)
    });
    if let Some((_, family)) = other {
        return Err(other_family(container.name(), family));
    }
    let (prefix, names) = match container.has_prefix("controlnet_cond_embedding.") {
        true => ("", Names::Diffusers),
        false if container.has_prefix(ldm::CONTROL_NET) => (ldm::CONTROL_NET, Names::Ldm),
        false => ("", Names::Ldm),
    };
    let inferred = infer::control_net(&Shapes::new(container, prefix), names);
    let config = settle(
        container,
        Network::ControlNet,
        inferred,
        ControlNetConfig::read,
    )?;
    let layout = match names {
        Names::Ldm => Layout::ldm_control_net(prefix, &config),
        Names::Diffusers => Layout::equal(Network::ControlNet),
    };
    Ok(Part::new(config, container, layout))
}

/// A TAESD, if the file is one.
fn taesd(container: &Arc<Container>) -> Option<Result<Files, WeightsError>> {
    /// Names, the encoder's last layer, and the decoder's first one.
    const SPELLINGS: [(TaesdNames, &str, &str); 2] = [
        (
            TaesdNames::Diffusers,
            "encoder.layers.14.weight",
            "decoder.layers.0.weight",
        ),
        (TaesdNames::Both, "encoder.14.weight", "decoder.1.weight"),
    ];
    let has = |name: &str| container.get(name).is_some();
    let spelling = SPELLINGS
        .iter()
        .find(|(_, encoder, decoder)| has(encoder) || has(decoder));
    let (names, encoder, decoder) = match spelling {
        Some(&(names, encoder, decoder)) => (
            names,
            Some(encoder).filter(|name| has(name)),
            Some(decoder).filter(|name| has(name)),
        ),
        // One half by itself: the encoder begins with layer 0, the decoder with layer 1.
        None if has("0.weight") && has("14.weight") => {
            (TaesdNames::Encoder, Some("14.weight"), None)
        }
        None if has("1.weight") && has("19.weight") => {
            (TaesdNames::Decoder, None, Some("1.weight"))
        }
        None => return None,
    };
    let config = infer::taesd(&Shapes::new(container, ""), encoder, decoder);
    let part = config
        .map(|config| Files::Taesd(Part::new(config, container, Layout::taesd(names))))
        .map_err(|reason| not_this(container, Network::Taesd, &reason));
    Some(part)
}

/// The configuration that shapes tell, overlaid with that of the file's metadata, and checked.
fn settle<C>(
    container: &Container,
    network: Network,
    inferred: Result<C, String>,
    read: impl Fn(&Fields, &C) -> Result<C, FieldError>,
) -> Result<C, WeightsError> {
    let base = inferred.map_err(|reason| not_this(container, network, &reason))?;
    let key = match network {
        Network::Unet => "photog.unet_config",
        Network::Vae => "photog.vae_config",
        Network::Text => "photog.text_config",
        Network::ControlNet => "photog.controlnet_config",
        Network::Taesd => "photog.taesd_config",
    };
    read(&metadata(container, key)?, &base)
        .map_err(|error| match error {
            FieldError::Wrong(reason) => FieldError::Wrong(format!(
                "{reason}; what shapes cannot tell may stand in the file's metadata as `{key}`"
            )),
            other @ FieldError::NotBuilt(_) => other,
        })
        .map_err(|error| field_error(container.name(), error))
}

/// That the tensors are not those of the network that they look like.
fn not_this(container: &Container, network: Network, reason: &str) -> WeightsError {
    let reason =
        format!("{reason}; this is no {network} of Stable Diffusion 1.x, or a part is cut");
    WeightsError::unsupported(container.name(), reason)
}

/// The noise schedule of a single file: that of SD 1.x, unless it says otherwise.
fn scheduler(container: &Container) -> Result<SchedulerConfig, WeightsError> {
    let mut base = SchedulerConfig::default();
    if let Some(text) = container.metadata().get("modelspec.prediction_type") {
        base.prediction_type = PredictionType::parse(text).ok_or_else(|| {
            let reason = format!(
                "its metadata say that it predicts `{}`, and photog knows `epsilon` and `v` only",
                shown(text)
            );
            WeightsError::unsupported(container.name(), reason)
        })?;
    }
    // Empty tensors with these names are how some tools mark such models.
    if container.get("v_pred").is_some() {
        base.prediction_type = PredictionType::Velocity;
    }
    if container.get("ztsnr").is_some() {
        base.rescale_betas_zero_snr = true;
    }
    let fields = metadata(container, "photog.scheduler_config")?;
    SchedulerConfig::read(&fields, &base).map_err(|error| field_error(container.name(), error))
}

/// The fields of a JSON object in the file's metadata; none when there is no such entry.
fn metadata(container: &Container, key: &str) -> Result<Fields, WeightsError> {
    let text = container.metadata().get(key).map_or("{}", String::as_str);
    let object = serde_json::from_str(text).map_err(|error| {
        let error = shown_message(&error);
        let reason = format!("`{key}` in its metadata is no JSON object: {error}");
        WeightsError::refused(container.name(), reason)
    })?;
    Ok(Fields::new(object))
}
