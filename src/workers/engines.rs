//! Which engine works for which role.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use crate::{
    domain::{Role, ServiceSpec},
    fetch::{Fetcher, NetworkPolicy},
    models::shelf::Shelf,
    pipeline::{CheckEngine, EchoEngine, Engine, ExtrasEngine, MissingModelEngine},
    store::{BucketFolder, Mounts, StoreError},
};

/// What engines need from the configuration.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The networks.
    pub shelf: Shelf,
    /// Folder below which buckets lie that have no folder of their own.
    pub data_root: PathBuf,
    /// Local folders of buckets.
    pub buckets: Vec<BucketFolder>,
    /// Which hosts pictures are fetched from.
    pub network: NetworkPolicy,
}

/// Makes engines; one for each slot.
#[derive(Debug, Clone)]
pub struct Engines {
    fetchers: Arc<HashMap<String, Fetcher>>,
    shelf: Shelf,
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
            Role::Train | Role::Predict => Box::new(MissingModelEngine::new(role, &self.shelf)),
            Role::Sd => {
                let pictures = MissingModelEngine::new(role, &self.shelf);
                Box::new(ExtrasEngine::before(Box::new(pictures)))
            }
        })
    }
}
