//! The library: which model files the data folder has, and which of them are loaded.
//!
//! ```text
//!   folders --> scan --> Listing --> find --> Listed --> Loads --> Arc of a model
//!                                      ^                   ^
//!                                   hashes               Loader
//! ```
//!
//! Files lie as in the WebUI and have its names. Listing opens none of them; hashes are computed when
//! they are asked for, and kept. Models are loaded once and shared; a file that has changed is loaded
//! anew, so nothing needs a restart. What is not used goes when memory is short: hold the [`Arc`] for
//! as long as anything made of it is used.
//!
//! Nothing here writes to the folders but the file with the hashes, and nothing is fetched.

mod find;
mod hashes;
mod listed;
mod loader;
mod loads;
mod scan;
#[cfg(test)]
mod tests;

use std::{any::Any, collections::BTreeSet, fmt, path::Path, sync::Arc};

pub use crate::models::diffusion::Vectors;
pub use find::{FindError, Found};
pub use hashes::{FileHash, HASHES_FILE, HashError};
pub use listed::{Kind, Listed};
pub use loader::{LoadError, Loader, Notice};
pub use loads::{Loaded, Unloaded};
pub use scan::{Listing, RefusedFile};

use crate::models::{
    supply::Supply,
    weights::{Container, WeightsError},
};
use loads::{Loads, Shared, Source, refreshed};

/// Most LoRA files and embeddings that stay open; they take no memory of a device.
const LIGHT_MAX: usize = 64;
/// Most memory of embeddings, in bytes.
const LIGHT_BYTES_MAX: u64 = 256 << 20;
/// Most networks that stay loaded.
const HEAVY_MAX: usize = 64;

/// Whether a data folder has a model of a kind, or a file that looks like one and cannot be used, or
/// something that could not be searched for one. Opens none of them.
pub fn has_any(data_folder: &Path, kind: Kind) -> bool {
    let listing = scan::scan(data_folder, kind);
    !listing.files.is_empty() || !listing.refused.is_empty() || !listing.notes.is_empty()
}

/// What the folders of models hold that no request can name, each with the reason: files that are not
/// read, and folders that were not searched. Opens none of them.
pub fn not_used(data_folder: &Path) -> BTreeSet<String> {
    // VAEs may lie beside checkpoints, so that folder is looked through twice.
    let mut texts = BTreeSet::new();
    for kind in Kind::ALL {
        let listing = scan::scan(data_folder, kind);
        texts.extend(listing.refused.iter().map(|file| {
            let path = file.path.strip_prefix(data_folder).unwrap_or(&file.path);
            format!("{}: {}", path.display(), file.hint)
        }));
        texts.extend(listing.notes);
    }
    texts
}

/// The models of a kind, by their names, capitals or not. Opens none of them.
pub fn listed(supply: &Supply, kind: Kind) -> Vec<Listed> {
    scan_of(supply, kind).files
}

/// From a pack come checkpoints alone.
fn scan_of(supply: &Supply, kind: Kind) -> Listing {
    match kind {
        Kind::Checkpoint => match supply.pack() {
            Some(pack) => scan::scan_pack(pack, kind),
            None => scan::scan(supply.folder(), kind),
        },
        kind => scan::scan(supply.folder(), kind),
    }
}

/// The models of a data folder. Clones share what is loaded.
pub struct Library<L: Loader>(Arc<Inner<L>>);

struct Inner<L> {
    supply: Supply,
    loader: L,
    hashes: hashes::Hashes,
    /// Networks, which take memory of the device.
    heavy: Loads,
    /// LoRAs and embeddings; a large load does not keep them waiting.
    light: Loads,
}

impl<L: Loader> Clone for Library<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L: Loader> fmt::Debug for Library<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library")
            .field("supply", &self.0.supply)
            .finish_non_exhaustive()
    }
}

impl<L: Loader> Library<L> {
    /// The models of a supply, such as the root of a data folder. Networks take at most `limit_bytes`
    /// together, as far as not more are in use.
    pub fn new(supply: impl Into<Supply>, loader: L, limit_bytes: u64) -> Self {
        let supply = supply.into();
        Self(Arc::new(Inner {
            hashes: hashes::Hashes::new(supply.folder().join("webui")),
            supply,
            loader,
            heavy: Loads::new(limit_bytes, HEAVY_MAX),
            light: Loads::new(LIGHT_BYTES_MAX, LIGHT_MAX),
        }))
    }

    /// The root of the data folder.
    pub fn folder(&self) -> &Path {
        self.0.supply.folder()
    }

    /// What opens models.
    pub fn loader(&self) -> &L {
        &self.0.loader
    }

    /// The models of a kind, by their names, capitals or not.
    pub fn list(&self, kind: Kind) -> Vec<Listed> {
        self.scan(kind).files
    }

    /// The same with what cannot be used, and why.
    pub fn scan(&self, kind: Kind) -> Listing {
        scan_of(&self.0.supply, kind)
    }

    /// The checkpoint that a text means: its title, name, path, hash or sha256, or a part of its
    /// title; see [`FindError`]. Hashes are those that are known. `None` and blank text mean the
    /// first by name.
    pub fn find_checkpoint(&self, text: Option<&str>) -> Result<Found, FindError> {
        let listing = self.scan(Kind::Checkpoint);
        match text.filter(|text| !text.trim().is_empty()) {
            Some(text) => self.find_in(Kind::Checkpoint, text, &listing),
            None => find::first(Kind::Checkpoint, &listing),
        }
    }

    /// The model of a kind that a text means.
    pub fn find(&self, kind: Kind, text: &str) -> Result<Found, FindError> {
        self.find_in(kind, text, &self.scan(kind))
    }

    /// The VAE that lies ready for a checkpoint: `NAME.safetensors` or `NAME.vae.safetensors`, in
    /// the folder of VAEs or beside a checkpoint `NAME`. What the WebUI takes for `Automatic`.
    pub fn vae_of(&self, checkpoint: &Listed) -> Option<Listed> {
        let stem = checkpoint.stem();
        let is_its = |vae: &Listed| {
            let rest = vae.stem().strip_prefix(stem);
            matches!(rest, Some("" | ".vae"))
        };
        self.list(Kind::Vae).into_iter().find(is_its)
    }

    /// The small VAE to show previews with: a TAESD for Stable Diffusion 1.x. One half of it, the
    /// decoder, is enough.
    pub fn preview_file(&self) -> Option<Listed> {
        /// TAESDs of other models, and the other half.
        const OTHERS: [&str; 4] = ["xl", "sd3", "f1", "encoder"];
        let is_fit = |listed: &Listed| {
            let name = listed.file_name.to_lowercase();
            name.contains("taesd") && !OTHERS.iter().any(|other| name.contains(other))
        };
        self.list(Kind::Taesd).into_iter().find(is_fit)
    }

    /// The hash of a model, if it is known; nothing is read for it.
    pub fn known_sha256(&self, listed: &Listed) -> Option<FileHash> {
        self.0.hashes.known(listed)
    }

    /// The hash of a model, computed if it is not known, which takes seconds. `stop` is asked some
    /// times a second.
    pub fn sha256(
        &self,
        listed: &Listed,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<FileHash, HashError> {
        self.0.hashes.get(listed, stop)
    }

    /// The WebUI's title, with the hash where it is known.
    pub fn title(&self, listed: &Listed) -> String {
        listed.title(self.known_sha256(listed).as_ref())
    }

    /// A checkpoint, with another VAE than its own if one is given.
    pub fn painter(
        &self,
        checkpoint: &Listed,
        vae: Option<&Listed>,
    ) -> Result<Arc<L::Painter>, LoadError<L::Error>> {
        let source = source(Kind::Checkpoint, checkpoint, vae)?;
        let loader = &self.0.loader;
        self.network(&source, &|| {
            let painter = loader.painter(&source.listed.place, source.vae_place())?;
            let bytes = loader.painter_bytes(&painter);
            Ok((Arc::new(painter) as Shared, bytes))
        })
    }

    /// A ControlNet.
    pub fn guide(&self, listed: &Listed) -> Result<Arc<L::Guide>, LoadError<L::Error>> {
        let source = source(Kind::ControlNet, listed, None)?;
        let loader = &self.0.loader;
        self.network(&source, &|| {
            let guide = loader.guide(&source.listed.place)?;
            let bytes = loader.guide_bytes(&guide);
            Ok((Arc::new(guide) as Shared, bytes))
        })
    }

    /// A small VAE, such as that of [`Library::preview_file`].
    pub fn previewer(&self, listed: &Listed) -> Result<Arc<L::Previewer>, LoadError<L::Error>> {
        let source = source(Kind::Taesd, listed, None)?;
        let loader = &self.0.loader;
        self.network(&source, &|| {
            let previewer = loader.previewer(&source.listed.place)?;
            let bytes = loader.previewer_bytes(&previewer);
            Ok((Arc::new(previewer) as Shared, bytes))
        })
    }

    /// A LoRA's file, opened. Its numbers are read when they are asked for.
    pub fn lora(&self, listed: &Listed) -> Result<Arc<Container>, LoadError<L::Error>> {
        let source = source(Kind::Lora, listed, None)?;
        let open = || Ok((Arc::new(Container::at(&source.listed.place)?) as Shared, 0));
        Ok(self.light(&source, &open)?)
    }

    /// An embedding's vectors.
    pub fn embedding(&self, listed: &Listed) -> Result<Arc<Vectors>, LoadError<L::Error>> {
        let source = source(Kind::Embedding, listed, None)?;
        let open = || {
            let vectors = Vectors::read(&Container::at(&source.listed.place)?)?;
            let bytes = vectors.bytes();
            Ok((Arc::new(vectors) as Shared, bytes))
        };
        Ok(self.light(&source, &open)?)
    }

    /// Drops what is loaded and not in use: all of it, or one kind.
    pub fn unload(&self, kind: Option<Kind>) -> Unloaded {
        let (heavy, light) = (self.0.heavy.unload(kind), self.0.light.unload(kind));
        Unloaded {
            dropped: heavy.dropped + light.dropped,
            bytes: heavy.bytes + light.bytes,
            in_use: heavy.in_use + light.in_use,
        }
    }

    /// What is loaded: networks and then light things, the least recently used first.
    pub fn loaded(&self) -> Vec<Loaded> {
        let mut loaded = self.0.heavy.loaded();
        loaded.extend(self.0.light.loaded());
        loaded
    }

    fn find_in(&self, kind: Kind, text: &str, listing: &Listing) -> Result<Found, FindError> {
        find::find(kind, text, listing, &|listed| self.known_sha256(listed))
    }

    fn network<T: Any + Send + Sync>(
        &self,
        source: &Source,
        load: &dyn Fn() -> Result<(Shared, u64), L::Error>,
    ) -> Result<Arc<T>, LoadError<L::Error>> {
        let loader = &self.0.loader;
        let size = |listed: &Listed| (listed.bytes as f64 * loader.factor(listed.kind)) as u64;
        let vae = source.vae.as_ref().map_or(0, size);
        let expected = size(&source.listed).saturating_add(vae);
        let may_retry = |error: &L::Error| loader.is_out_of_memory(error);
        let notice = |notice: &Notice| loader.notice(notice);
        let shared = self
            .0
            .heavy
            .get(source, expected, load, &may_retry, &notice);
        shared.map(typed).map_err(LoadError::Loader)
    }

    fn light<T: Any + Send + Sync>(
        &self,
        source: &Source,
        load: &dyn Fn() -> Result<(Shared, u64), WeightsError>,
    ) -> Result<Arc<T>, WeightsError> {
        let loads = &self.0.light;
        let shared = loads.get(source, 0, load, &|_| false, &|_| {})?;
        Ok(typed(shared))
    }
}

fn typed<T: Any + Send + Sync>(shared: Shared) -> Arc<T> {
    let typed = shared.downcast();
    typed.expect("the kind of a source stands for one type, and sources are compared by kind")
}

/// The files as they are now; they have to be of the right kinds.
fn source<E: std::error::Error>(
    wanted: Kind,
    listed: &Listed,
    vae: Option<&Listed>,
) -> Result<Source, LoadError<E>> {
    let now = |listed: &Listed, wanted: Kind| {
        if listed.kind != wanted {
            return Err(LoadError::Kind {
                file: listed.file_name.clone(),
                given: listed.kind,
                wanted,
            });
        }
        refreshed(listed).map_err(|reason| LoadError::Gone {
            file: listed.place.to_string(),
            reason,
        })
    };
    Ok(Source {
        listed: now(listed, wanted)?,
        vae: vae.map(|vae| now(vae, Kind::Vae)).transpose()?,
    })
}
