//! Loads the library's files onto a device.

use super::guard::is_lack_of_memory;
use super::{DiffusionError, Guide, Painter, Previewer, Setting};
use crate::models::library::{Kind, Library, Loader, Notice};
use crate::models::place::Place;
use crate::models::weights::Files;

/// Opens model files for one device.
#[derive(Clone, Copy, Debug)]
pub struct NetworkLoader {
    setting: Setting,
}

/// The models of a data folder on one device.
pub type Networks = Library<NetworkLoader>;

impl NetworkLoader {
    /// For a device.
    pub fn new(setting: Setting) -> Self {
        Self { setting }
    }
}

fn unfit(place: &Place, wanted: &str) -> DiffusionError {
    DiffusionError::Request(format!(
        "{place} is no {wanted}; put it into the folder of its kind"
    ))
}

impl Loader for NetworkLoader {
    type Painter = Painter;
    type Guide = Guide;
    type Previewer = Previewer;
    type Error = DiffusionError;

    fn painter(&self, checkpoint: &Place, vae: Option<&Place>) -> Result<Painter, DiffusionError> {
        let Files::Checkpoint(files) = Files::at(checkpoint)? else {
            return Err(unfit(checkpoint, "checkpoint"));
        };
        let vae = match vae {
            Some(place) => match Files::at(place)? {
                Files::Vae(part) => Some(part),
                _ => return Err(unfit(place, "VAE")),
            },
            None => None,
        };
        Painter::open(*files, vae, self.setting)
    }

    fn guide(&self, place: &Place) -> Result<Guide, DiffusionError> {
        match Files::at(place)? {
            Files::ControlNet(part) => Guide::open(&part, self.setting),
            _ => Err(unfit(place, "ControlNet")),
        }
    }

    fn previewer(&self, place: &Place) -> Result<Previewer, DiffusionError> {
        match Files::at(place)? {
            Files::Taesd(part) => Previewer::open(&part, self.setting),
            _ => Err(unfit(place, "TAESD")),
        }
    }

    fn painter_bytes(&self, painter: &Painter) -> u64 {
        painter.bytes()
    }

    fn guide_bytes(&self, guide: &Guide) -> u64 {
        guide.bytes()
    }

    fn previewer_bytes(&self, previewer: &Previewer) -> u64 {
        previewer.bytes()
    }

    fn factor(&self, _kind: Kind) -> f64 {
        // Most files have 16-bit numbers, which become 32-bit ones on the CPU.
        if self.setting.is_full() { 2.0 } else { 1.0 }
    }

    fn is_out_of_memory(&self, error: &DiffusionError) -> bool {
        is_lack_of_memory(error)
    }

    fn notice(&self, notice: &Notice) {
        tracing::warn!("{notice}");
    }
}
