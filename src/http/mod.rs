//! HTTP: the only module that knows HTTP and the wire forms.
//!
//! - [`server`]: connections, their limits and the way they end;
//! - [`state`]: what every handler may use;
//! - [`auth`]: tokens; [`error`]: the one mapping from errors to statuses;
//! - [`patience`]: how long a client may keep this side waiting; [`unread`]: what it sent in vain;
//! - [`body`], [`params`]: bodies and query strings of hostile clients;
//! - [`sd_models`], [`sd_options`]: what the WebUI's routes ask of networks, and its options;
//! - [`wire`]: protobuf and JSON of the queue protocol;
//! - `routes`: one file per family of addresses.
//!
//! Nothing here blocks: files and the database are read on blocking threads.

mod auth;
mod body;
mod error;
mod params;
mod patience;
mod routes;
mod sd_models;
mod sd_options;
mod server;
mod state;
mod unread;
pub mod wire;

pub use routes::{hosted::HostedApps, openapi::document as openapi_document};
pub use sd_models::{
    MemoryUse, SdEmbedding, SdLora, SdMemory, SdModel, SdModels, SdUpscaler, SdVae,
};
pub use server::{ServeOptions, Server};
pub use state::{App, AppParts};
