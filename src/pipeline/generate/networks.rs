//! The artist whose networks lie in the data folder or in a pack.

use std::sync::Arc;

use super::artist::{
    About, Artist, ArtistError, Job, Kind, Latents, LoraUse, Painter, Text, Vectors, Watch,
};
use crate::{
    imaging::RgbImage,
    models::{
        clip::tokenizer::Tokenizer,
        diffusion::{self, DiffusionError, Guide, Networks},
        library::{Library, Listed, LoadError},
        prompt::{Chunk, Emphasis},
        sampling::Schedule,
        supply,
        weights::Container,
    },
};

impl From<DiffusionError> for ArtistError {
    fn from(error: DiffusionError) -> Self {
        let text = error.to_string();
        match error {
            DiffusionError::Weights(_) => Self::Weights(text),
            DiffusionError::Lora { name, reason } => Self::Lora { name, reason },
            DiffusionError::Request(_) => Self::Request(text),
            DiffusionError::OutOfMemory { .. } | DiffusionError::TooMuch(_) => {
                Self::OutOfMemory(text)
            }
            DiffusionError::Stopped => Self::Stopped,
            DiffusionError::Device { .. } => Self::Device(text),
        }
    }
}

impl From<LoadError<DiffusionError>> for ArtistError {
    fn from(error: LoadError<DiffusionError>) -> Self {
        match error {
            LoadError::Loader(error) => error.into(),
            other => Self::Weights(other.to_string()),
        }
    }
}

/// The LoRA that was given this name when it was trained (`ss_output_name`).
fn named_inside(library: &Networks, name: &str) -> Option<Listed> {
    Library::list(library, Kind::Lora)
        .into_iter()
        .find(|listed| {
            let opened = Library::lora(library, listed);
            opened.is_ok_and(|file| {
                file.metadata()
                    .get("ss_output_name")
                    .is_some_and(|n| n == name)
            })
        })
}

impl Artist for Networks {
    type File = Listed;
    type Guide = Guide;
    type Lora = Container;
    type Painter = diffusion::Painter;

    fn list(&self, kind: Kind) -> Vec<Listed> {
        Library::list(self, kind)
    }

    fn find(&self, kind: Kind, name: &str) -> Option<Listed> {
        if kind == Kind::Checkpoint {
            return Some(self.find_checkpoint(Some(name)).ok()?.listed);
        }
        let found = Library::find(self, kind, name);
        match (found, kind) {
            (Ok(found), _) => Some(found.listed),
            (Err(_), Kind::Lora) => named_inside(self, name),
            (Err(_), _) => None,
        }
    }

    fn name<'f>(&self, file: &'f Listed) -> &'f str {
        &file.name
    }

    fn about(&self, file: &Listed) -> About {
        About {
            name: file.name.clone(),
            file_name: file.file_name.clone(),
            // It is computed once for each file, so that the first result says what the second does. A
            // file that cannot be read has none; that is told when it is loaded.
            sha256: self
                .sha256(file, &mut || false)
                .ok()
                .map(|hash| hash.to_string()),
            notice: file.place.pack().map(supply::notice),
        }
    }

    fn painter(
        &self,
        checkpoint: &Listed,
        vae: Option<&Listed>,
    ) -> Result<Arc<diffusion::Painter>, ArtistError> {
        let painter = Library::painter(self, checkpoint, vae)?;
        let previewer = self.preview_file().map(|file| self.previewer(&file));
        // A preview without its network is a coarser one.
        Ok(match previewer.and_then(Result::ok) {
            Some(previewer) => Arc::new(painter.with_previewer(previewer)),
            None => painter,
        })
    }

    fn guide(&self, file: &Listed) -> Result<Arc<Guide>, ArtistError> {
        Ok(Library::guide(self, file)?)
    }

    fn lora(&self, file: &Listed) -> Result<Arc<Container>, ArtistError> {
        Ok(Library::lora(self, file)?)
    }

    fn embedding(&self, file: &Listed) -> Result<Arc<Vectors>, ArtistError> {
        Ok(Library::embedding(self, file)?)
    }
}

impl Painter for diffusion::Painter {
    type Guide = Guide;
    type Lora = Container;

    fn with_loras(&self, loras: &[LoraUse<Container>]) -> Result<Self, ArtistError> {
        Ok(diffusion::Painter::with_loras(self, loras)?)
    }

    fn tokenizer(&self) -> &Tokenizer {
        self.tokenizer()
    }

    fn schedule(&self) -> &Schedule {
        self.schedule()
    }

    fn latent_channels(&self) -> usize {
        self.latent_channels()
    }

    fn factor(&self) -> usize {
        self.factor()
    }

    fn encode_text(
        &self,
        chunks: &[Chunk],
        embeddings: &dyn Fn(&str) -> Option<Arc<Vectors>>,
        clip_skip: usize,
        emphasis: Emphasis,
    ) -> Result<Text, ArtistError> {
        Ok(self.encode_text(chunks, embeddings, clip_skip, emphasis)?)
    }

    fn sample(&self, job: Job<'_, Guide>, watch: &mut dyn Watch) -> Result<Latents, ArtistError> {
        Ok(self.sample(job, watch)?)
    }

    fn encode(
        &self,
        pictures: &[RgbImage],
        posterior_noise: Option<&Latents>,
        watch: &mut dyn Watch,
    ) -> Result<Latents, ArtistError> {
        Ok(self.encode(pictures, posterior_noise, watch)?)
    }

    fn decode(
        &self,
        latents: &Latents,
        watch: &mut dyn Watch,
    ) -> Result<Vec<RgbImage>, ArtistError> {
        Ok(self.decode(latents, watch)?)
    }
}
