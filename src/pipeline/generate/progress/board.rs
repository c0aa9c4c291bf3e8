//! What runs at the moment, for those who ask from elsewhere.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, AtomicUsize, Ordering},
};

use super::{Audience, Progress, Wish};
use crate::{imaging::RgbImage, job::JobContext};

const GO: u8 = 0;
const SKIP: u8 = 1;
const INTERRUPT: u8 = 2;

/// All requests for pictures that are being worked on. Clones share one board.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Vec<Arc<Running>>>>);

impl Board {
    /// What runs, the oldest first.
    pub fn running(&self) -> Vec<Arc<Running>> {
        lock(&self.0).clone()
    }

    /// What runs under this name.
    pub fn find(&self, id: &str) -> Option<Arc<Running>> {
        lock(&self.0)
            .iter()
            .find(|running| running.id == id)
            .cloned()
    }

    /// Puts work on the board for as long as the result lives.
    pub(in crate::pipeline::generate) fn enter<'a>(
        &self,
        id: String,
        context: &'a JobContext,
    ) -> Entered<'a> {
        let running = Arc::new(Running {
            id,
            ..Running::default()
        });
        lock(&self.0).push(Arc::clone(&running));
        Entered {
            board: self.clone(),
            running,
            context,
        }
    }
}

/// One request for pictures that is being worked on.
#[derive(Debug, Default)]
pub struct Running {
    /// Its name.
    id: String,
    progress: Mutex<Progress>,
    preview: Mutex<Option<Arc<RgbImage>>>,
    preview_every: AtomicUsize,
    wish: AtomicU8,
}

impl Running {
    /// The name that its caller gave it, or that of its request.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// The newest preview.
    pub fn preview(&self) -> Option<Arc<RgbImage>> {
        lock(&self.preview).clone()
    }

    /// Asks for a preview after every so many steps; 0 is none.
    pub fn preview_every(&self, steps: usize) {
        self.preview_every.store(steps, Ordering::Relaxed);
    }

    /// Ends it with what there is.
    pub fn interrupt(&self) {
        self.wish.store(INTERRUPT, Ordering::Relaxed);
    }

    /// Ends the batch in hand with what there is.
    pub fn skip(&self) {
        let wish = (GO, SKIP);
        // An interruption stays.
        let _ = self
            .wish
            .compare_exchange(wish.0, wish.1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether it is asked to end.
    pub fn is_interrupted(&self) -> bool {
        self.wish.load(Ordering::Relaxed) == INTERRUPT
    }
}

/// Work on the board, which it leaves when this is dropped.
pub(in crate::pipeline::generate) struct Entered<'a> {
    board: Board,
    running: Arc<Running>,
    context: &'a JobContext,
}

impl Audience for Entered<'_> {
    fn report(&mut self, progress: &Progress) -> Wish {
        lock(&self.running.progress).clone_from(progress);
        self.context
            .progress
            .report(progress.fraction, &progress.textinfo);
        if let Err(reason) = self.context.checkpoint() {
            return Wish::Stop(reason);
        }
        match self.running.wish.load(Ordering::Relaxed) {
            INTERRUPT => Wish::Interrupt,
            SKIP => {
                // It is heard once: the next batch goes on.
                let _ = self.running.wish.compare_exchange(
                    SKIP,
                    GO,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                Wish::Skip
            }
            _ => Wish::Go,
        }
    }

    fn preview_every(&mut self) -> usize {
        self.running.preview_every.load(Ordering::Relaxed)
    }

    fn preview(&mut self, picture: RgbImage) {
        *lock(&self.running.preview) = Some(Arc::new(picture));
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        lock(&self.board.0).retain(|running| !Arc::ptr_eq(running, &self.running));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever is in it is whole: each section is one assignment or call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
