//! Everything that portraits are made with, and the way from the names of a request to a picture.

use std::sync::Arc;

use serde_json::Value;

use super::{
    error::PortraitError,
    extras::Extras,
    painting::Painting,
    run::{Means, Portrait, portrait},
    settings::Settings,
    subject::Subject,
};
use crate::{
    domain::{PersonId, Words},
    imaging::RgbImage,
    job::JobContext,
    people::People,
    pipeline::{FaceSource, Failure, Observer, request::Members},
};

/// Both sides of a template have to be above this (`portrait-api` section 1).
const SIDE_TOO_SMALL: u32 = 512;

/// Makes portraits.
#[derive(Clone)]
pub struct Studio {
    /// Who is trained.
    pub people: People,
    /// Finds and compares faces.
    pub faces: Arc<dyn FaceSource>,
    /// Networks that may be there.
    pub extras: Arc<dyn Extras>,
    /// Paints.
    pub painting: Arc<dyn Painting>,
    /// The fixed words.
    pub words: Words,
}

/// A request of which everything is there but the template.
pub struct Sitting {
    observer: Arc<dyn Observer>,
    extras: Arc<dyn Extras>,
    painting: Arc<dyn Painting>,
    words: Words,
    subjects: Vec<Subject>,
    checkpoint: String,
    /// The settings.
    pub settings: Settings,
    warnings: Vec<String>,
}

impl Studio {
    /// Looks up persons and networks. `options` are the members of `configure`.
    pub fn prepare(&self, persons: &[PersonId], options: &Members) -> Result<Sitting, Failure> {
        let observer = self.faces.observer().map_err(PortraitError::from)?;
        let named = options.get("sd_model_checkpoint").and_then(Value::as_str);
        let named = named.filter(|name| !name.is_empty());
        let base = |name| self.painting.base(name).map_err(PortraitError::from);
        // What is missing for everybody is told before who is not trained.
        base(named)?;
        let mut warnings: Vec<String> = observer.notice().map(str::to_owned).into_iter().collect();
        let subjects = persons
            .iter()
            .map(|id| Subject::find(id, &self.people, &*observer, &*self.painting, &mut warnings))
            .collect::<Result<Vec<_>, _>>()?;
        // A LoRA fits the checkpoint that it was trained on, and seldom another as well.
        let trained_on = subjects.iter().find_map(|subject| subject.base.as_deref());
        let base = base(named.or(trained_on))?;
        let (settings, said) = Settings::read(options.clone(), base.pack)?;
        warnings.extend(said);
        Ok(Sitting {
            words: match base.pack {
                None => self.words.clone(),
                // Its networks know few words.
                Some(_) => Words::none(),
            },
            extras: Arc::clone(&self.extras),
            painting: Arc::clone(&self.painting),
            checkpoint: base.name,
            observer,
            subjects,
            settings,
            warnings,
        })
    }
}

impl Sitting {
    /// Makes the persons of the faces of a template, from left to right.
    pub fn portrait(self, template: &RgbImage, context: &JobContext) -> Result<Portrait, Failure> {
        let (width, height) = template.dimensions();
        if width.min(height) <= SIDE_TOO_SMALL {
            let least = SIDE_TOO_SMALL;
            return Err(PortraitError::TooSmall {
                width,
                height,
                least,
            }
            .into());
        }
        let means = Means {
            observer: &*self.observer,
            extras: &*self.extras,
            painting: &*self.painting,
            words: &self.words,
            checkpoint: &self.checkpoint,
            settings: &self.settings,
        };
        let mut made = portrait(template, &self.subjects, &means, context)?;
        let mut warnings = self.warnings;
        for warning in made.warnings {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        made.warnings = warnings;
        Ok(made)
    }
}
