//! What results say of how pictures were made.

use serde_json::{Map, Value, json};

use super::{
    artist::Artist,
    batch::{Painted, Seeds, eta},
    infotext::Infotext,
    request::Common,
    session::Session,
};
use crate::models::sampling::{Method, Spacing};

/// Digits of the hashes of models.
const HASH_DIGITS: usize = 10;
/// What the texts of pictures call this program.
pub(super) const VERSION: &str = concat!("photog ", env!("CARGO_PKG_VERSION"));

/// A number as Python writes it: with a point.
pub(super) fn decimal(number: f64) -> String {
    format!("{number:?}")
}

/// What a request was about.
pub(super) struct Record<'a> {
    pub(super) common: &'a Common,
    seeds: &'a Seeds,
}

impl<'a> Record<'a> {
    pub(super) fn new(common: &'a Common, seeds: &'a Seeds) -> Self {
        Self { common, seeds }
    }

    /// The text of one of the pictures.
    pub(super) fn infotext<A: Artist>(&self, session: &Session<'_, A>, place: usize) -> Infotext {
        let mut fields = self.usual(session, place);
        fields.extend(self.of_sampler(session));
        fields.extend(session.extras.clone());
        let hashes = [
            ("Lora hashes", &session.notes.loras),
            ("TI hashes", &session.notes.embeddings),
        ];
        for (name, list) in hashes {
            let known = list.iter().filter_map(|(name, hash)| {
                let hash = hash.as_ref()?;
                Some(format!("{name}: {hash}"))
            });
            let known: Vec<String> = known.collect();
            if !known.is_empty() {
                fields.push((name, known.join(", ")));
            }
        }
        fields.push(("Version", VERSION.to_owned()));
        let named = fields.into_iter();
        let mut text = Infotext {
            prompt: self.common.prompt.clone(),
            negative_prompt: self.common.negative_prompt.clone(),
            fields: named
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        };
        text.sort_fields();
        text
    }

    fn usual<A: Artist>(
        &self,
        session: &Session<'_, A>,
        place: usize,
    ) -> Vec<(&'static str, String)> {
        let common = self.common;
        let mut fields = vec![
            ("Steps", common.steps.to_string()),
            ("Sampler", common.method.name().to_owned()),
            ("Schedule type", spacing(common).label().to_owned()),
            ("CFG scale", decimal(common.guidance)),
            ("Seed", self.seeds.first[place].to_string()),
            ("Size", format!("{}x{}", common.width, common.height)),
        ];
        let models = [
            ("Model hash", "Model", Some(&session.checkpoint), false),
            ("VAE hash", "VAE", session.vae.as_ref(), true),
        ];
        for (hash, name, about, has_ending) in models {
            let Some(about) = about else {
                continue;
            };
            if let Some(digits) = about.short_hash(HASH_DIGITS) {
                fields.push((hash, digits.to_owned()));
            }
            let shown = if has_ending {
                &about.file_name
            } else {
                &about.name
            };
            fields.push((name, shown.clone()));
        }
        if common.subseed_strength != 0.0 {
            fields.push(("Variation seed", self.seeds.second[place].to_string()));
            fields.push(("Variation seed strength", decimal(common.subseed_strength)));
        }
        let [height, width] = common.resize_from;
        if height > 0 && width > 0 {
            fields.push(("Seed resize from", format!("{width}x{height}")));
        }
        if session.options.clip_skip > 1 {
            fields.push(("Clip skip", session.options.clip_skip.to_string()));
        }
        fields
    }

    fn of_sampler<A: Artist>(&self, session: &Session<'_, A>) -> Vec<(&'static str, String)> {
        let (common, options) = (self.common, &session.options);
        let mut fields = Vec::new();
        let own_eta = eta(common.method, common, options);
        if own_eta.is_some_and(|eta| Some(eta) != common.method.default_eta()) {
            let name = match common.method {
                Method::Ddim => "Eta DDIM",
                _ => "Eta",
            };
            fields.push((name, decimal(own_eta.unwrap_or_default())));
        }
        let is_ancestral = common.method == Method::EulerAncestral && own_eta != Some(0.0);
        if options.seed_delta != 0 && is_ancestral {
            fields.push(("ENSD", options.seed_delta.to_string()));
        }
        let number = |at: usize| common.churn[at].unwrap_or(options.churn[at]);
        if common.method == Method::Euler {
            for (at, name) in ["Sigma churn", "Sigma tmin", "Sigma tmax"]
                .into_iter()
                .enumerate()
            {
                if number(at) != 0.0 {
                    fields.push((name, decimal(number(at))));
                }
            }
        }
        let hears_noise = matches!(common.method, Method::Euler | Method::Dpm2mSde);
        if hears_noise && number(3) != 1.0 {
            fields.push(("Sigma noise", decimal(number(3))));
        }
        fields
    }

    /// The member `info` of an answer, before it becomes a text.
    pub(super) fn info<A: Artist>(
        &self,
        session: &Session<'_, A>,
        strength: Option<f64>,
        painted: &[Painted],
        timestamp: &str,
    ) -> Value {
        let common = self.common;
        let count = self.seeds.first.len();
        let all = |text: &String| vec![text.clone(); count];
        let extras = session
            .extras
            .iter()
            .cloned()
            .chain(self.of_sampler(session));
        let extras: Map<String, Value> = extras
            .filter(|(name, _)| *name != "Denoising strength")
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let texts: Vec<String> = painted.iter().map(|(_, text)| text.to_text()).collect();
        let hash = |about: Option<&super::artist::About>| {
            about
                .and_then(|about| about.short_hash(HASH_DIGITS))
                .map(str::to_owned)
        };
        json!({
            "prompt": common.prompt,
            "all_prompts": all(&common.prompt),
            "negative_prompt": common.negative_prompt,
            "all_negative_prompts": all(&common.negative_prompt),
            "seed": self.seeds.first.first(),
            "all_seeds": self.seeds.first,
            "subseed": self.seeds.second.first(),
            "all_subseeds": self.seeds.second,
            "subseed_strength": common.subseed_strength,
            "width": common.width,
            "height": common.height,
            "sampler_name": common.method.name(),
            "cfg_scale": common.guidance,
            "steps": common.steps,
            "batch_size": common.batch_size,
            "restore_faces": false,
            "face_restoration_model": null,
            "sd_model_name": session.checkpoint.name,
            "sd_model_hash": hash(Some(&session.checkpoint)),
            "sd_vae_name": session.vae.as_ref().map(|vae| &vae.file_name),
            "sd_vae_hash": hash(session.vae.as_ref()),
            "seed_resize_from_w": common.resize_from[1],
            "seed_resize_from_h": common.resize_from[0],
            "denoising_strength": strength,
            "extra_generation_params": extras,
            "index_of_first_image": 0,
            "infotexts": texts,
            "styles": [],
            "job_timestamp": timestamp,
            "clip_skip": session.options.clip_skip,
            "is_using_inpainting_conditioning": false,
            "version": VERSION,
            "comments": session.notes.warnings,
        })
    }
}

/// The spacing as the web UI names it: that of the sampler, where that is a particular one.
fn spacing(common: &Common) -> Spacing {
    let own = common.method.default_spacing();
    match common.spacing {
        Spacing::Automatic if own != Spacing::Uniform => own,
        spacing => spacing,
    }
}
