//! What the WebUI's routes ask of the files of networks: which there are, and to let go of them.

use serde_json::{Value, json};

use crate::models::{
    diffusion::Networks,
    library::{FileHash, Kind, Listed},
};

/// The files of networks, as the WebUI lists them. Every call may read files and so may block.
pub trait SdModels: Send + Sync {
    /// All checkpoints.
    fn checkpoints(&self) -> Vec<SdModel>;
    /// All VAEs that are files of their own.
    fn vaes(&self) -> Vec<SdVae>;
    /// All LoRAs.
    fn loras(&self) -> Vec<SdLora>;
    /// All textual inversions.
    fn embeddings(&self) -> Vec<SdEmbedding>;
    /// Upscalers that are networks; those that compute without one are added to these.
    fn upscalers(&self) -> Vec<SdUpscaler>;
    /// The checkpoint of a title, a name, a file name or a hash.
    fn find_checkpoint(&self, text: &str) -> Option<SdModel>;
    /// Looks again which files there are.
    fn refresh(&self);
    /// Lets go of every network that no job holds, so that its memory is free.
    fn unload(&self);
    /// Memory of the machine and of the device.
    fn memory(&self) -> SdMemory;
}

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdModel {
    /// File name and, once known, short hash: `file.safetensors [0123456789]`. Options name a
    /// checkpoint by it.
    pub title: String,
    /// File name without its ending.
    pub model_name: String,
    /// The first ten digits of `sha256`, once known.
    pub hash: Option<String>,
    /// Hash of the file, once known.
    pub sha256: Option<String>,
    /// Path of the file.
    pub filename: String,
    /// Path of a configuration beside it.
    pub config: Option<String>,
}

/// A VAE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdVae {
    /// File name.
    pub model_name: String,
    /// Path of the file.
    pub filename: String,
}

/// A LoRA.
#[derive(Debug, Clone, PartialEq)]
pub struct SdLora {
    /// Name in `<lora:name:1>`.
    pub name: String,
    /// Name that its trainer gave it.
    pub alias: String,
    /// Path of the file.
    pub path: String,
    /// What its header says, an object.
    pub metadata: Value,
}

/// A textual inversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdEmbedding {
    /// The word in prompts.
    pub name: String,
    /// Numbers of each vector.
    pub shape: usize,
    /// Number of vectors.
    pub vectors: usize,
    /// Whether the text network of the present checkpoint has vectors of this length.
    pub fits: bool,
}

/// An upscaler that is a network.
#[derive(Debug, Clone, PartialEq)]
pub struct SdUpscaler {
    /// Name in requests.
    pub name: String,
    /// Path of the file.
    pub model_path: Option<String>,
    /// By how much it enlarges.
    pub scale: f64,
}

/// Memory in use, in bytes. What is not known is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SdMemory {
    /// Of the machine.
    pub ram: Option<MemoryUse>,
    /// Of the device, if it is no processor.
    pub device: Option<MemoryUse>,
    /// What networks hold of it, and the most that they ever held.
    pub networks: Option<(u64, u64)>,
}

/// One kind of memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Nobody uses it.
    pub free: u64,
    /// This program uses it.
    pub used: u64,
    /// All there is.
    pub total: u64,
}

impl SdModels for Networks {
    fn checkpoints(&self) -> Vec<SdModel> {
        let listed = self.list(Kind::Checkpoint);
        listed.iter().map(|listed| model(self, listed)).collect()
    }

    fn vaes(&self) -> Vec<SdVae> {
        let vae = |listed: Listed| SdVae {
            model_name: listed.file_name.clone(),
            filename: listed.place.to_string(),
        };
        self.list(Kind::Vae).into_iter().map(vae).collect()
    }

    fn loras(&self) -> Vec<SdLora> {
        let lora = |listed: Listed| {
            // A file that cannot be opened is listed too, so that its error is seen when it is used.
            let metadata = self
                .lora(&listed)
                .map(|file| file.metadata().clone())
                .unwrap_or_default();
            let alias = metadata.get("ss_output_name").unwrap_or(&listed.name);
            SdLora {
                name: listed.name.clone(),
                alias: alias.clone(),
                path: listed.place.to_string(),
                metadata: json!(metadata),
            }
        };
        self.list(Kind::Lora).into_iter().map(lora).collect()
    }

    fn embeddings(&self) -> Vec<SdEmbedding> {
        let embedding = |listed: Listed| {
            let vectors = self.embedding(&listed).ok()?;
            Some(SdEmbedding {
                name: listed.name,
                shape: vectors.width,
                vectors: vectors.count,
                fits: true,
            })
        };
        let listed = self.list(Kind::Embedding);
        listed.into_iter().filter_map(embedding).collect()
    }

    fn upscalers(&self) -> Vec<SdUpscaler> {
        // Those of this version compute without a network.
        Vec::new()
    }

    fn find_checkpoint(&self, text: &str) -> Option<SdModel> {
        let found = Networks::find_checkpoint(self, Some(text)).ok()?;
        Some(model(self, &found.listed))
    }

    fn refresh(&self) {
        // Folders are read whenever they are asked for.
    }

    fn unload(&self) {
        Networks::unload(self, None);
    }

    fn memory(&self) -> SdMemory {
        let machine = rustix::system::sysinfo();
        let unit = u64::from(machine.mem_unit);
        let [total, free] = [machine.totalram, machine.freeram].map(|count| count * unit);
        let held = self.loaded().iter().map(|loaded| loaded.bytes).sum();
        SdMemory {
            ram: Some(MemoryUse {
                free,
                used: total.saturating_sub(free),
                total,
            }),
            device: None,
            networks: Some((held, held)),
        }
    }
}

fn model(networks: &Networks, listed: &Listed) -> SdModel {
    let hash = networks.known_sha256(listed);
    SdModel {
        title: listed.title(hash.as_ref()),
        model_name: listed.name.clone(),
        hash: hash.as_ref().map(FileHash::short),
        sha256: hash.as_ref().map(ToString::to_string),
        filename: listed.place.to_string(),
        config: None,
    }
}
