//! Where the work on a portrait stands: pass after pass, each told by the painter.

use crate::{
    imaging::RgbImage,
    job::{JobContext, Steps},
    pipeline::generate::{
        Audience, Progress, Wish,
        progress::{preview_every, send_preview},
    },
};

/// The passes of a portrait.
pub(super) struct Passes<'a> {
    context: &'a JobContext,
    all: usize,
    begun: usize,
    name: String,
}

impl<'a> Passes<'a> {
    /// So many passes.
    pub(super) fn new(context: &'a JobContext, all: usize) -> Self {
        Self {
            context,
            all,
            begun: 0,
            name: String::new(),
        }
    }

    /// The next pass begins; this is what it does.
    pub(super) fn begin(&mut self, name: String) -> &mut Self {
        self.begun += 1;
        self.name = name;
        self
    }

    /// The pass is done; what follows is quick.
    pub(super) fn end(&self) {
        let fraction = self.begun as f64 / self.all.max(1) as f64;
        let note = format!("{}, done", self.name);
        self.context.progress.report(fraction.min(1.0), &note);
    }
}

/// A job that is asked to finish early goes on: half a portrait is none.
impl Audience for Passes<'_> {
    fn report(&mut self, progress: &Progress) -> Wish {
        let done = self.begun.saturating_sub(1);
        let sink = &self.context.progress;
        sink.count(Steps {
            round: done as u32,
            rounds: self.all.max(1) as u32,
            step: progress.step as u32,
            steps: progress.steps as u32,
        });
        let fraction = (done as f64 + progress.fraction) / self.all.max(1) as f64;
        let note = format!("{}, {}", self.name, progress.textinfo);
        sink.report(fraction.clamp(0.0, 1.0), &note);
        match self.context.checkpoint() {
            Ok(()) => Wish::Go,
            Err(reason) => Wish::Stop(reason),
        }
    }

    fn preview_every(&mut self) -> usize {
        preview_every(self.context)
    }

    fn preview(&mut self, picture: RgbImage) {
        send_preview(self.context, &picture);
    }
}
