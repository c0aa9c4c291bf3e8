//! What the work on one request holds together: the model, the settings, who listens, and what results
//! have to say.

use std::sync::Arc;

use super::{
    artist::{About, Artist, ArtistError, Control, Kind},
    error::GenerateError,
    hints,
    options::Options,
    pictures::Reader,
    progress::{Audience, Steps},
    prompts::{Asked, Notes, Words, words},
    request::{Common, Passes, Unit},
};
use crate::imaging::RgbImage;

/// Names of checkpoints and VAEs that mean none in particular.
const NO_NAMES: [&str; 2] = ["", "none"];
/// The name that means the VAE that lies beside the checkpoint.
const AUTOMATIC: &str = "automatic";

/// The work on one request.
pub(super) struct Session<'a, A: Artist> {
    pub(super) artist: &'a A,
    pub(super) options: Options,
    /// The model without LoRAs.
    pub(super) painter: Arc<A::Painter>,
    pub(super) checkpoint: About,
    pub(super) vae: Option<About>,
    pub(super) steps: Steps<'a>,
    pub(super) notes: Notes,
    pub(super) reader: Reader,
    /// What the texts of pictures say besides the usual, in their order.
    pub(super) extras: Vec<(&'static str, String)>,
}

impl<'a, A: Artist> Session<'a, A> {
    /// Finds and loads the model.
    pub(super) fn open(
        artist: &'a A,
        options: Options,
        common: &Common,
        audience: &'a mut dyn Audience,
    ) -> Result<Self, GenerateError> {
        let mut steps = Steps::new(audience);
        steps
            .note("loading the model")
            .map_err(GenerateError::Stopped)?;
        let checkpoint = checkpoint(artist, &options.checkpoint)?;
        let about = artist.about(&checkpoint);
        let vae = vae(artist, &options.vae, &about)?;
        let painter = artist.painter(&checkpoint, vae.as_ref())?;
        let notice = about.notice.map(str::to_owned).into_iter();
        let warnings = common.warnings.iter().chain(&options.warnings).cloned();
        Ok(Self {
            painter,
            checkpoint: about,
            vae: vae.map(|vae| artist.about(&vae)),
            notes: Notes {
                warnings: notice.chain(warnings).collect(),
                ..Notes::default()
            },
            reader: Reader::new(),
            artist,
            options,
            steps,
            extras: Vec::new(),
        })
    }

    /// The error as it is told: of one that stopped the model, why it was stopped.
    pub(super) fn reason_of(&self, error: GenerateError) -> GenerateError {
        match error {
            GenerateError::Artist(ArtistError::Stopped) => {
                GenerateError::Stopped(self.steps.reason())
            }
            error => error,
        }
    }

    /// Says something more in the texts of the pictures.
    pub(super) fn say(&mut self, name: &'static str, value: impl Into<String>) {
        self.extras.push((name, value.into()));
    }

    /// The model with the LoRAs of a prompt, and what it attends to.
    pub(super) fn words(&mut self, asked: &Asked<'_>) -> Result<Words<A::Painter>, GenerateError> {
        self.steps
            .note("reading the prompt")
            .map_err(GenerateError::Stopped)?;
        let (artist, painter) = (self.artist, &self.painter);
        words(artist, painter, &self.options, asked, &mut self.notes)
    }

    /// Loads the networks that guide.
    pub(super) fn guides(&mut self, units: &[Unit]) -> Result<Guides<A::Guide>, GenerateError> {
        let mut guides = Guides(Vec::new());
        for (number, unit) in units.iter().enumerate() {
            let name = unit
                .model
                .rsplit_once(" [")
                .map_or(&*unit.model, |(name, _)| name);
            let found = self.artist.find(Kind::ControlNet, &unit.model);
            let found = found.or_else(|| self.artist.find(Kind::ControlNet, name));
            let file = found.ok_or_else(|| unknown("ControlNet", &unit.model))?;
            self.steps
                .note("loading a network that guides")
                .map_err(GenerateError::Stopped)?;
            let image = unit.image.as_deref();
            let image =
                image.map(|text| self.reader.picture(&format!("{}image", unit.place), text));
            guides.0.push(Guiding {
                net: self.artist.guide(&file)?,
                unit: unit.clone(),
                image: image.transpose()?,
            });
            let text = format!(
                "Module: {}, Model: {}, Weight: {:?}, Guidance Start: {:?}, Guidance End: {:?}",
                format!("{:?}", unit.preparation.module).to_lowercase(),
                self.artist.name(&file),
                unit.weight,
                unit.start,
                unit.end
            );
            if let Some(name) = UNIT_NAMES.get(number) {
                self.say(name, text);
            }
        }
        Ok(guides)
    }
}

/// Names of units in the texts of pictures.
const UNIT_NAMES: [&str; 10] = [
    "ControlNet 0",
    "ControlNet 1",
    "ControlNet 2",
    "ControlNet 3",
    "ControlNet 4",
    "ControlNet 5",
    "ControlNet 6",
    "ControlNet 7",
    "ControlNet 8",
    "ControlNet 9",
];

fn unknown(what: &'static str, name: &str) -> GenerateError {
    let name = name.chars().take(200).collect();
    GenerateError::Unknown { what, name }
}

fn is_no_name(name: &str) -> bool {
    NO_NAMES.contains(&name.to_ascii_lowercase().as_str())
}

fn checkpoint<A: Artist>(artist: &A, name: &str) -> Result<A::File, GenerateError> {
    if is_no_name(name) {
        let mut all = artist.list(Kind::Checkpoint).into_iter();
        return all.next().ok_or(GenerateError::NoCheckpoint);
    }
    match artist.find(Kind::Checkpoint, name) {
        Some(found) => Ok(found),
        None if artist.list(Kind::Checkpoint).is_empty() => Err(GenerateError::NoCheckpoint),
        None => Err(unknown("checkpoint", name)),
    }
}

fn vae<A: Artist>(
    artist: &A,
    name: &str,
    checkpoint: &About,
) -> Result<Option<A::File>, GenerateError> {
    if is_no_name(name) {
        return Ok(None);
    }
    if name.eq_ignore_ascii_case(AUTOMATIC) {
        let beside = format!("{}.vae", checkpoint.name);
        return Ok(artist
            .find(Kind::Vae, &beside)
            .or_else(|| artist.find(Kind::Vae, &checkpoint.name)));
    }
    let found = artist.find(Kind::Vae, name);
    found.map(Some).ok_or_else(|| unknown("VAE", name))
}

/// Networks that guide, loaded.
pub(super) struct Guides<G>(Vec<Guiding<G>>);

struct Guiding<G> {
    net: Arc<G>,
    unit: Unit,
    image: Option<RgbImage>,
}

impl<G> Guides<G> {
    /// The networks of a pass with what they look at. `default` is what a unit without a picture of its
    /// own looks at, and `crop` what is done to pictures of those that follow the crop of the request.
    pub(super) fn controls(
        &self,
        pass: Passes,
        (width, height): (u32, u32),
        default: Option<&RgbImage>,
        crop: Option<&dyn Fn(&RgbImage) -> RgbImage>,
    ) -> Result<Vec<Control<G>>, GenerateError> {
        let here = self.0.iter();
        let here = here.filter(|guiding| [Passes::Both, pass].contains(&guiding.unit.passes));
        here.map(|guiding| {
            let unit = &guiding.unit;
            let image = guiding.image.as_ref().or(default).ok_or_else(|| {
                let reason = "is missing; send the picture that the network looks at";
                GenerateError::field(format!("{}image", unit.place), reason)
            })?;
            let cropped = crop.filter(|_| unit.follows_crop).map(|crop| crop(image));
            let image = cropped.as_ref().unwrap_or(image);
            Ok(Control {
                net: Arc::clone(&guiding.net),
                hint: hints::hint(image, &unit.preparation, width, height),
                weight: unit.weight,
                start: unit.start,
                end: unit.end,
                mode: unit.mode,
            })
        })
        .collect()
    }
}
