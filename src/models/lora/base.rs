//! Which family of models a file says that it was made for.

use std::collections::BTreeMap;

use super::{
    LoraError,
    error::{shown, shown_list},
};

/// Beginnings of `ss_base_model_version` and of `modelspec.architecture`, with the family of each.
const FAMILIES: [(&str, &str, &str); 8] = [
    ("ss_base_model_version", "sdxl", "SDXL"),
    ("ss_base_model_version", "sd_v2", "SD 2.x"),
    ("ss_base_model_version", "sd3", "SD 3"),
    ("ss_base_model_version", "flux", "FLUX"),
    ("modelspec.architecture", "stable-diffusion-xl", "SDXL"),
    ("modelspec.architecture", "stable-diffusion-v2", "SD 2.x"),
    ("modelspec.architecture", "stable-diffusion-3", "SD 3"),
    ("modelspec.architecture", "flux", "FLUX"),
];

/// Beginnings of names that only models with several text encoders have. The first text encoder is
/// not among them: some files for SD 1.x name their only one so.
const SECOND_ENCODERS: [(&str, &str); 4] = [
    ("lora_te2_", "SDXL"),
    ("text_encoder_2.", "SDXL"),
    ("lora_te3_", "SD 3"),
    ("text_encoder_3.", "SD 3"),
];

/// Refuses a file that says that it was made for another family than SD 1.x.
pub(super) fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), LoraError> {
    if let Some(v2) = metadata.get("ss_v2")
        && v2.trim().eq_ignore_ascii_case("true")
    {
        return Err(LoraError::OtherFamily {
            family: "SD 2.x",
            reason: format!("ss_v2 is {}", shown(v2)),
        });
    }
    for (key, beginning, family) in FAMILIES {
        if let Some(value) = metadata.get(key)
            && value.trim().to_ascii_lowercase().starts_with(beginning)
        {
            return Err(LoraError::OtherFamily {
                family,
                reason: format!("{key} is {}", shown(value)),
            });
        }
    }
    Ok(())
}

/// Refuses a file that changes a text encoder which SD 1.x does not have.
pub(super) fn check_module(module: &str) -> Result<(), LoraError> {
    let found = SECOND_ENCODERS
        .iter()
        .find(|(beginning, _)| module.starts_with(beginning));
    match found {
        None => Ok(()),
        Some((_, family)) => Err(LoraError::OtherFamily {
            family,
            reason: format!("it changes {}", shown_list(&[module])),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(key: &str, value: &str) -> Option<&'static str> {
        match check_metadata(&BTreeMap::from([(key.into(), value.into())])) {
            Ok(()) => None,
            Err(LoraError::OtherFamily { family, .. }) => Some(family),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn other_families_are_told_by_what_files_say() {
        assert_eq!(
            family("ss_base_model_version", "sdxl_base_v1-0"),
            Some("SDXL")
        );
        assert_eq!(family("ss_base_model_version", "sd_v2_v"), Some("SD 2.x"));
        assert_eq!(family("ss_base_model_version", "sd_v1"), None);
        assert_eq!(family("ss_v2", "True"), Some("SD 2.x"));
        assert_eq!(family("ss_v2", "False"), None);
        let key = "modelspec.architecture";
        assert_eq!(
            family(key, "stable-diffusion-xl-v1-base/lora"),
            Some("SDXL")
        );
        assert_eq!(family(key, "stable-diffusion-v1/lora"), None);
    }

    #[test]
    fn a_second_text_encoder_is_of_another_family() {
        let text = "text_model_encoder_layers_0_self_attn_q_proj";
        assert!(check_module(&format!("lora_te2_{text}")).is_err());
        assert!(check_module(&format!("lora_te1_{text}")).is_ok());
        assert!(check_module("text_encoder_2.text_model.encoder").is_err());
    }
}
