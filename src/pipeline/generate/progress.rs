//! How far the work on a request is, and how it is told to end early.
//!
//! Each pass of a sampler is a job of its own, as in the web UI: a request for three batches with a second
//! pass has six. A caller that listens is an [`Audience`]; it hears of each step and says whether the work
//! goes on. The audience of a job is its context ([`OfJob`]).

use super::artist::{Flow, Stage, Watch};
use crate::{
    imaging::{Kernel, RgbImage, png_text::write_png, resize},
    job::{self, CancelReason, Finish, JobContext},
};

/// Longest side of a preview, in pixels.
const PREVIEW_SIDE_MAX: u32 = 512;
/// Steps from one preview to the next, while somebody looks on.
const PREVIEW_EVERY_STEPS: usize = 3;
/// The parts of a pass that encoding and sampling take; decoding takes the rest.
const ENCODED: f64 = 0.05;
const SAMPLED: f64 = 0.95;

/// How far the work on a request is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// How much of everything is done, from 0 to 1.
    pub fraction: f64,
    /// Steps of this pass that are done.
    pub step: usize,
    /// Steps of this pass.
    pub steps: usize,
    /// Passes that are done.
    pub job_no: usize,
    /// All passes.
    pub job_count: usize,
    /// One short line, such as `step 3 of 20`.
    pub textinfo: String,
}

/// How the work is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// As it does.
    Go,
    /// This batch ends with what there is of it; the next one follows.
    Skip,
    /// All ends with what there is.
    Interrupt,
    /// All ends with nothing.
    Stop(CancelReason),
}

/// Who listens while pictures are made.
pub trait Audience {
    /// Hears how far the work is, and says how it is to go on.
    fn report(&mut self, progress: &Progress) -> Wish;
    /// After how many steps each a preview is wanted; 0 is never.
    fn preview_every(&mut self) -> usize {
        0
    }
    /// A small picture of what the first picture of the batch will be.
    fn preview(&mut self, picture: RgbImage) {
        drop(picture);
    }
}

/// Nobody listens.
impl Audience for () {
    fn report(&mut self, _progress: &Progress) -> Wish {
        Wish::Go
    }
}

/// The surroundings of a job as the audience of its work.
pub(super) struct OfJob<'a> {
    context: &'a JobContext,
    /// The pass that was heard of last.
    pass: usize,
}

impl<'a> OfJob<'a> {
    pub(super) fn new(context: &'a JobContext) -> Self {
        Self { context, pass: 0 }
    }
}

impl Audience for OfJob<'_> {
    fn report(&mut self, progress: &Progress) -> Wish {
        let JobContext {
            finish,
            progress: sink,
            ..
        } = self.context;
        sink.count(job::Steps {
            round: progress.job_no as u32,
            rounds: progress.job_count.max(1) as u32,
            step: progress.step as u32,
            steps: progress.steps as u32,
        });
        sink.report(progress.fraction, &progress.textinfo);
        if let Err(reason) = self.context.checkpoint() {
            return Wish::Stop(reason);
        }
        if self.pass != progress.job_no {
            self.pass = progress.job_no;
            finish.begin_round();
        }
        match finish.asked() {
            Some(Finish::All) => Wish::Interrupt,
            Some(Finish::Round) => Wish::Skip,
            None => Wish::Go,
        }
    }

    fn preview_every(&mut self) -> usize {
        preview_every(self.context)
    }

    fn preview(&mut self, picture: RgbImage) {
        send_preview(self.context, &picture);
    }
}

/// After how many steps each a job's preview is wanted; 0 is never.
pub(in crate::pipeline) fn preview_every(context: &JobContext) -> usize {
    if context.progress.wants_preview() {
        PREVIEW_EVERY_STEPS
    } else {
        0
    }
}

/// Shows whoever looks on at a job a preview.
pub(in crate::pipeline) fn send_preview(context: &JobContext, picture: &RgbImage) {
    // A preview that cannot be written is worth no failure.
    if let Ok(file) = write_png(picture, &[]) {
        context.progress.preview(file.into());
    }
}

/// Stands between the model and the audience.
pub(super) struct Steps<'a> {
    audience: &'a mut dyn Audience,
    progress: Progress,
    is_skipped: bool,
    is_interrupted: bool,
    stopped: Option<CancelReason>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(audience: &'a mut dyn Audience) -> Self {
        Self {
            audience,
            progress: Progress::default(),
            is_skipped: false,
            is_interrupted: false,
            stopped: None,
        }
    }

    /// Says how many passes there are.
    pub(super) fn expect(&mut self, job_count: usize) {
        self.progress.job_count = job_count;
    }

    /// Reports what takes long and has no steps, such as loading.
    pub(super) fn note(&mut self, text: &str) -> Result<(), CancelReason> {
        text.clone_into(&mut self.progress.textinfo);
        match self.ask() {
            Flow::Stop => Err(self.reason()),
            Flow::Go | Flow::Finish => Ok(()),
        }
    }

    /// Begins a batch: a wish to skip the one before is over. Passes of batches that were left out count
    /// as done.
    pub(super) fn begin_batch(&mut self, job_no: usize) {
        self.is_skipped = false;
        self.begin_pass(job_no);
    }

    /// Begins a pass.
    pub(super) fn begin_pass(&mut self, job_no: usize) {
        self.progress.job_no = job_no;
        self.progress.step = 0;
        self.progress.steps = 0;
    }

    /// Whether no other batch is to be begun.
    pub(super) fn is_interrupted(&self) -> bool {
        self.is_interrupted
    }

    /// Whether this batch is to be ended.
    pub(super) fn is_ending(&self) -> bool {
        self.is_interrupted || self.is_skipped
    }

    /// Why the work was stopped; a model that stops without a reason was asked to by the process.
    pub(super) fn reason(&self) -> CancelReason {
        self.stopped.unwrap_or(CancelReason::Shutdown)
    }

    fn ask(&mut self) -> Flow {
        match self.audience.report(&self.progress) {
            Wish::Go => {}
            Wish::Skip => self.is_skipped = true,
            Wish::Interrupt => self.is_interrupted = true,
            Wish::Stop(reason) => {
                self.stopped.get_or_insert(reason);
            }
        }
        if self.stopped.is_some() {
            return Flow::Stop;
        }
        if self.is_ending() {
            return Flow::Finish;
        }
        Flow::Go
    }
}

impl Watch for Steps<'_> {
    fn step(&mut self, stage: Stage, done: usize, total: usize) -> Flow {
        let share = done as f64 / total.max(1) as f64;
        let (within, text) = match stage {
            Stage::Encode => (ENCODED * share, String::from("reading the picture")),
            Stage::Sample => {
                self.progress.step = done;
                self.progress.steps = total;
                let text = format!("step {} of {total}", (done + 1).min(total));
                (ENCODED + (SAMPLED - ENCODED) * share, text)
            }
            Stage::Decode => (
                SAMPLED + (1.0 - SAMPLED) * share,
                String::from("painting the picture"),
            ),
        };
        let jobs = self.progress.job_count.max(1) as f64;
        let fraction = (self.progress.job_no as f64 + within) / jobs;
        // Between two passes over one picture is an encoding or none; a bar never goes back.
        self.progress.fraction = fraction.max(self.progress.fraction).min(1.0);
        self.progress.textinfo = text;
        match (self.ask(), stage) {
            // Only sampling can end early: without the other two there is no picture.
            (Flow::Finish, Stage::Encode | Stage::Decode) => Flow::Go,
            (flow, _) => flow,
        }
    }

    fn wants_preview(&mut self) -> bool {
        let every = self.audience.preview_every();
        every > 0 && self.progress.step.is_multiple_of(every)
    }

    fn preview(&mut self, pictures: Vec<RgbImage>) {
        if let Some(picture) = pictures.into_iter().next() {
            self.audience.preview(small(picture));
        }
    }
}

fn small(picture: RgbImage) -> RgbImage {
    let longer = picture.width().max(picture.height());
    if longer <= PREVIEW_SIDE_MAX {
        return picture;
    }
    let side =
        |side: u32| (u64::from(side) * u64::from(PREVIEW_SIDE_MAX) / u64::from(longer)) as u32;
    resize(
        &picture,
        side(picture.width()),
        side(picture.height()),
        Kernel::Triangle,
    )
}
