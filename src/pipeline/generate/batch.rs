//! Seeds, steps and order of the batches of a request.

use std::ops::Range;

use super::{
    artist::{Artist, Control, Job, Latents, Mask, Painter},
    error::GenerateError,
    infotext::Infotext,
    options::Options,
    prompts::Words,
    record::Record,
    request::{Common, PIXELS},
    session::Session,
};
use crate::{
    imaging::RgbImage,
    models::sampling::{
        Churn, FromPicture, Method, NoiseRequest, NoiseSource, Plan, Request, Schedule, Spacing,
        Variation, plan, seeds,
    },
};

/// Seeds that are drawn for -1 are below this, as in the web UI.
const DRAWN_BELOW: u128 = 4_294_967_294;
/// The seed that means any.
const ANY: i64 = -1;

/// A picture and what it was made of.
pub type Painted = (RgbImage, Infotext);

/// The seeds of all pictures of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seeds {
    /// Of the first noise.
    pub(super) first: Vec<i64>,
    /// Of the noise that is mixed into it.
    pub(super) second: Vec<i64>,
    strength: f64,
    resize_from: [i64; 2],
    later_delta: i64,
}

impl Seeds {
    /// Draws what is left open, once.
    pub(super) fn of(common: &Common, options: &Options, count: usize) -> Self {
        let strength = common.subseed_strength;
        Self {
            first: seeds(drawn(common.seed), count, strength),
            second: seeds(drawn(common.subseed), count, 0.0),
            strength,
            resize_from: common.resize_from,
            later_delta: options.seed_delta,
        }
    }

    /// The noise of some of the pictures, in this shape of channels, rows and columns.
    pub(super) fn noise(
        &self,
        pictures: Range<usize>,
        shape: [usize; 3],
    ) -> Result<NoiseSource, GenerateError> {
        let mut request = NoiseRequest::new(shape, self.first[pictures.clone()].to_vec());
        request.variation = (self.strength != 0.0).then(|| Variation {
            seeds: self.second[pictures].to_vec(),
            strength: self.strength,
        });
        request.resize_from = self.resize_from;
        request.later_seed_delta = self.later_delta;
        Ok(NoiseSource::new(request)?)
    }
}

fn drawn(seed: i64) -> i64 {
    match seed {
        ANY => (uuid::Uuid::new_v4().as_u128() % DRAWN_BELOW) as i64,
        seed => seed,
    }
}

/// The sampler of one pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    pub(super) method: Method,
    pub(super) spacing: Spacing,
    pub(super) steps: usize,
    pub(super) from_picture: Option<FromPicture>,
}

impl Course {
    /// The steps, by the numbers of the request and, where it has none, of the settings.
    pub(super) fn plan(
        &self,
        schedule: &Schedule,
        common: &Common,
        options: &Options,
    ) -> Result<Plan, GenerateError> {
        let number = |at: usize| common.churn[at].unwrap_or(options.churn[at]);
        let mut request = Request::new(self.method, self.spacing, self.steps);
        request.from_picture = self.from_picture;
        request.eta = eta(self.method, common, options);
        request.noise_scale = number(3);
        request.churn = Churn {
            amount: number(0),
            sigma_min: number(1),
            sigma_max: number(2),
        };
        Ok(plan(schedule, &request)?)
    }
}

/// How much fresh noise a sampler adds; none of its business where it adds none by this measure.
pub(super) fn eta(method: Method, common: &Common, options: &Options) -> Option<f64> {
    method.default_eta()?;
    let set = match method {
        Method::Ddim => options.eta_ddim,
        _ => options.eta_ancestral,
    };
    common.eta.or(set)
}

/// A pass, ready to be made over batch after batch.
pub(super) struct Sampling<P: Painter> {
    pub(super) words: Words<P>,
    pub(super) plan: Plan,
    pub(super) guidance: f64,
    pub(super) controls: Vec<Control<P::Guide>>,
}

impl<P: Painter> Sampling<P> {
    /// Goes through the plan, from these latent pictures or from noise.
    pub(super) fn run<A: Artist<Painter = P>>(
        &self,
        session: &mut Session<'_, A>,
        noise: &mut NoiseSource,
        sizes: [usize; 4],
        start: Option<&Latents>,
        mask: Option<&Mask>,
    ) -> Result<Latents, GenerateError> {
        let pictures = sizes[0];
        let job = Job {
            plan: &self.plan,
            noise,
            sizes,
            start,
            positive: &vec![self.words.positive.clone(); pictures],
            negative: &vec![self.words.negative.clone(); pictures],
            guidance: self.guidance,
            mask,
            controls: &self.controls,
        };
        Ok(self.words.painter.sample(job, &mut session.steps)?)
    }
}

/// Latent columns and rows of a picture of this size.
pub(super) fn latent_size(width: u32, height: u32) -> [usize; 2] {
    [width, height].map(|side| (side / PIXELS) as usize)
}

/// Makes batch after batch until all are made or the work is interrupted. `paint` gets the number of the
/// first pass of a batch and the places of its pictures among all.
pub(super) fn each_batch<A: Artist>(
    session: &mut Session<'_, A>,
    record: &Record<'_>,
    batch_size: usize,
    passes: usize,
    mut paint: impl FnMut(
        &mut Session<'_, A>,
        usize,
        Range<usize>,
    ) -> Result<Vec<RgbImage>, GenerateError>,
) -> Result<Vec<Painted>, GenerateError> {
    let batches = record.common.batches;
    session.steps.expect(batches * passes);
    let mut painted = Vec::new();
    for batch in 0..batches {
        if session.steps.is_interrupted() {
            break;
        }
        session.steps.begin_batch(batch * passes);
        let places = batch * batch_size..(batch + 1) * batch_size;
        let pictures = paint(session, batch * passes, places.clone())?;
        for (place, picture) in places.zip(pictures) {
            painted.push((picture, record.infotext(session, place)));
        }
        if session.steps.is_ending() {
            let what = if session.steps.is_interrupted() {
                "interrupted"
            } else {
                "skipped"
            };
            session.notes.warnings.push(format!(
                "batch {} of {batches} was {what}, so its pictures may not be finished",
                batch + 1
            ));
        }
    }
    if painted.is_empty() {
        let text = "the work was interrupted before the first step, so there is no picture";
        session.notes.warnings.push(text.to_owned());
    }
    Ok(painted)
}
