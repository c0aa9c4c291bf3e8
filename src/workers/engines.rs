//! Which engine works for which role.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use crate::{
    domain::{Role, ServiceSpec, Words},
    fetch::{Fetcher, NetworkPolicy},
    models::{diffusion::Networks, shelf::Shelf},
    people::People,
    pipeline::{
        CheckEngine, EchoEngine, Engine, ExtrasEngine, Outputs,
        generate::{GenerateEngine, Keep},
        portrait::{PortraitEngine, Studio},
        train::TrainEngine,
    },
    store::{BucketFolder, DataFolder, Mounts, StoreError},
};

/// What engines need from the configuration.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The networks for faces.
    pub shelf: Shelf,
    /// The networks that make pictures.
    pub networks: Networks,
    /// Folder below which buckets lie that have no folder of their own.
    pub data_root: PathBuf,
    /// Local folders of buckets.
    pub buckets: Vec<BucketFolder>,
    /// Which hosts pictures are fetched from.
    pub network: NetworkPolicy,
    /// The fixed words of portraits.
    pub words: Words,
}

/// Makes engines; one for each slot.
#[derive(Debug, Clone)]
pub struct Engines {
    fetchers: Arc<HashMap<String, Fetcher>>,
    shelf: Shelf,
    networks: Arc<Networks>,
    outputs: Outputs,
    words: Words,
    people: People,
}

impl Engines {
    /// Prepares what the engines of these services share. Makes the folders of their mounts.
    pub fn new(services: &[ServiceSpec], settings: &EngineSettings) -> Result<Self, StoreError> {
        let fetcher = |spec: &ServiceSpec| {
            let mounts = Mounts::new(&spec.mounts, &settings.buckets, &settings.data_root)?;
            Ok((
                spec.name.clone(),
                Fetcher::new(mounts, settings.network.clone()),
            ))
        };
        let fetchers = services
            .iter()
            .map(fetcher)
            .collect::<Result<_, StoreError>>()?;
        Ok(Self {
            fetchers: Arc::new(fetchers),
            shelf: settings.shelf.clone(),
            networks: Arc::new(settings.networks.clone()),
            outputs: Outputs::at(settings.data_root.join(Outputs::NAME)),
            words: settings.words.clone(),
            people: People::new(DataFolder::at(&settings.data_root)),
        })
    }

    /// The networks that all engines share.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// A new engine for a slot of this service; `None` for a service without a worker.
    pub fn make(&self, spec: &ServiceSpec) -> Option<Box<dyn Engine>> {
        let role = spec.role?;
        Some(match role {
            Role::Check => {
                let fetcher = self.fetchers.get(&spec.name)?.clone();
                Box::new(CheckEngine::new(fetcher, Arc::new(self.shelf.clone())))
            }
            Role::Echo => Box::new(EchoEngine::new(spec.echo)),
            Role::Train => {
                let fetcher = self.fetchers.get(&spec.name)?.clone();
                let (faces, models) = (Arc::new(self.shelf.clone()), Arc::clone(&self.networks));
                Box::new(TrainEngine::new(
                    fetcher,
                    faces,
                    models,
                    self.people.clone(),
                ))
            }
            Role::Predict => {
                let fetcher = self.fetchers.get(&spec.name)?.clone();
                let studio = Studio {
                    people: self.people.clone(),
                    faces: Arc::new(self.shelf.clone()),
                    extras: Arc::new(self.shelf.clone()),
                    painting: self.networks.clone(),
                    words: self.words.clone(),
                };
                let limit = spec.queue.sink.max_payload_bytes;
                let outputs = self.outputs.clone();
                Box::new(PortraitEngine::new(studio, fetcher, outputs, limit))
            }
            Role::Sd => {
                let pictures = GenerateEngine::new(Arc::clone(&self.networks));
                let pictures = pictures.keeping(keep_in(self.outputs.clone()));
                Box::new(ExtrasEngine::before(Box::new(pictures)))
            }
        })
    }
}

/// Keeps pictures in a folder, by the time and their seeds.
fn keep_in(outputs: Outputs) -> Keep {
    Arc::new(move |seed, file| outputs.keep(seed, "png", file).map(drop))
}
