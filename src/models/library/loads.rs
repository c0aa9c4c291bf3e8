//! What is loaded: each thing once, and the least recently used goes when memory is short.
//!
//! One load runs at a time: two together could need more memory than both after each other. What is
//! loaded already is given out meanwhile. A load that fails leaves nothing behind, and who waited for
//! it tries by himself.
//!
//! The limit never fails a load. What is in use stays, and a load that does not fit beside it runs
//! all the same with a [`Notice`], since sizes are estimates and the device knows best what fits.

use std::{
    any::Any,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    listed::{Kind, Listed, Stamp},
    loader::Notice,
};
use crate::models::place::Place;

/// A loaded thing; its type follows from its kind.
pub(super) type Shared = Arc<dyn Any + Send + Sync>;

/// Of what a thing is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The file, as it is now.
    pub(super) listed: Listed,
    /// A checkpoint's other VAE, as it is now.
    pub(super) vae: Option<Listed>,
}

impl Source {
    fn is_same_place(&self, other: &Self) -> bool {
        self.listed.kind == other.listed.kind
            && self.listed.place == other.listed.place
            && self.vae_place() == other.vae_place()
    }

    pub(super) fn vae_place(&self) -> Option<&Place> {
        self.vae.as_ref().map(|vae| &vae.place)
    }
}

/// One loaded thing, for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The file, as it was when it was loaded.
    pub listed: Listed,
    /// Where a checkpoint's other VAE is.
    pub vae: Option<Place>,
    /// Memory that it takes; a LoRA's file is mapped and takes none of its own.
    pub bytes: u64,
    /// When it was last asked for.
    pub last_used: Instant,
    /// Whether somebody has it now.
    pub is_in_use: bool,
}

/// What [`Loads::unload`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unloaded {
    /// How many things were dropped.
    pub dropped: usize,
    /// Memory that they took, in bytes.
    pub bytes: u64,
    /// How many stay, since they are in use.
    pub in_use: usize,
}

/// Loaded things under one limit.
pub(super) struct Loads {
    state: Mutex<State>,
    /// Told when a load is over.
    ended: Condvar,
    bytes_max: u64,
    count_max: usize,
}

#[derive(Default)]
struct State {
    /// The least recently used first.
    kept: Vec<Kept>,
    is_loading: bool,
    /// How many have waited for a load to end.
    #[cfg(test)]
    waited: usize,
}

struct Kept {
    source: Source,
    value: Shared,
    bytes: u64,
    last_used: Instant,
    /// The file has changed since: it goes as soon as nobody has it.
    is_stale: bool,
}

impl Kept {
    /// Only this list hands things out, under its lock, so nobody can take one that nobody has.
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.value) > 1
    }
}

impl Loads {
    /// At most so many bytes and so many things, as far as not more are in use.
    pub(super) fn new(bytes_max: u64, count_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            ended: Condvar::new(),
            bytes_max,
            count_max,
        }
    }

    /// The thing, loaded if it is not there. `load` gives it with its size in bytes; `expected` is
    /// what it will probably take. After an error for which `may_retry` holds, `load` is called once
    /// more if something could be dropped.
    pub(super) fn get<E: std::fmt::Display>(
        &self,
        source: &Source,
        expected: u64,
        load: &dyn Fn() -> Result<(Shared, u64), E>,
        may_retry: &dyn Fn(&E) -> bool,
        notice: &dyn Fn(&Notice),
    ) -> Result<Shared, E> {
        let _turn = match self.hit_or_turn(source) {
            Ok(hit) => return Ok(hit),
            Err(turn) => turn,
        };
        // Dropped before the load, and without the lock: freeing a device's memory takes time.
        drop(self.make_room(expected, 1));
        let held = self.held();
        if held.saturating_add(expected) > self.bytes_max {
            notice(&Notice::OverLimit {
                file_name: source.listed.file_name.clone(),
                expected,
                held,
                limit: self.bytes_max,
            });
        }
        let (value, bytes) = match load() {
            Err(error) if may_retry(&error) && self.unload(None).dropped > 0 => {
                notice(&Notice::TriedAgain {
                    file_name: source.listed.file_name.clone(),
                    reason: error.to_string(),
                });
                load()?
            }
            other => other?,
        };
        self.lock().kept.push(Kept {
            source: source.clone(),
            value: Arc::clone(&value),
            bytes,
            last_used: Instant::now(),
            is_stale: false,
        });
        // It may take more than was expected.
        drop(self.make_room(0, 0));
        Ok(value)
    }

    /// Drops what nobody uses: all of it, or one kind.
    pub(super) fn unload(&self, kind: Option<Kind>) -> Unloaded {
        let mut state = self.lock();
        let mut sum = Unloaded::default();
        let mut dropped = Vec::new();
        let kept = std::mem::take(&mut state.kept);
        for thing in kept {
            if kind.is_some_and(|kind| kind != thing.source.listed.kind) {
                state.kept.push(thing);
            } else if thing.is_in_use() {
                sum.in_use += 1;
                state.kept.push(thing);
            } else {
                sum.dropped += 1;
                sum.bytes += thing.bytes;
                dropped.push(thing);
            }
        }
        drop(state);
        drop(dropped);
        sum
    }

    /// What is loaded, the least recently used first.
    pub(super) fn loaded(&self) -> Vec<Loaded> {
        let state = self.lock();
        let things = state.kept.iter().map(|thing| Loaded {
            listed: thing.source.listed.clone(),
            vae: thing.source.vae_place().cloned(),
            bytes: thing.bytes,
            last_used: thing.last_used,
            is_in_use: thing.is_in_use(),
        });
        things.collect()
    }

    /// How often somebody began to wait for a load to end.
    #[cfg(test)]
    pub(super) fn waited(&self) -> usize {
        self.lock().waited
    }

    /// The thing if it is there; else the right to load it, which is waited for.
    fn hit_or_turn(&self, source: &Source) -> Result<Shared, Turn<'_>> {
        let mut state = self.lock();
        loop {
            if let Some(hit) = state.hit(source) {
                return Ok(hit);
            }
            if !state.is_loading {
                state.is_loading = true;
                return Err(Turn(self));
            }
            #[cfg(test)]
            {
                state.waited += 1;
            }
            let waited = self.ended.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes out what has changed, and then the least recently used, until there is room for so many
    /// more bytes and things. What is in use stays.
    fn make_room(&self, bytes: u64, count: usize) -> Vec<Kept> {
        let mut state = self.lock();
        let mut out = Vec::new();
        let mut at = 0;
        while at < state.kept.len() {
            let thing = &state.kept[at];
            let is_over = state.bytes().saturating_add(bytes) > self.bytes_max
                || state.kept.len() + count > self.count_max;
            if !thing.is_in_use() && (thing.is_stale || is_over) {
                out.push(state.kept.remove(at));
            } else {
                at += 1;
            }
        }
        out
    }

    fn held(&self) -> u64 {
        self.lock().bytes()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a poisoned lock holds is whole: loads run without it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hit(&mut self, source: &Source) -> Option<Shared> {
        for thing in &mut self.kept {
            let is_other = thing.source != *source;
            thing.is_stale |= is_other && thing.source.is_same_place(source);
        }
        let is_it = |thing: &Kept| !thing.is_stale && thing.source == *source;
        let at = self.kept.iter().position(is_it)?;
        let mut thing = self.kept.remove(at);
        thing.last_used = Instant::now();
        let value = Arc::clone(&thing.value);
        self.kept.push(thing);
        Some(value)
    }

    fn bytes(&self) -> u64 {
        let sizes = self.kept.iter().map(|thing| thing.bytes);
        sizes.fold(0, u64::saturating_add)
    }
}

/// The right to load; given back however the load ends.
struct Turn<'a>(&'a Loads);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().is_loading = false;
        self.0.ended.notify_all();
    }
}

/// A file as it is now.
pub(super) fn refreshed(listed: &Listed) -> std::io::Result<Listed> {
    let stamp = Stamp::at(&listed.place)?;
    Ok(Listed {
        bytes: stamp.bytes,
        changed: stamp.changed,
        ..listed.clone()
    })
}
