//! Routes of the WebUI that do nothing here. Each says so by its name, so that nobody waits.

use super::error::{Caller, SdError, SdRefusal};

/// Describes a picture in words: not in this version.
#[utoipa::path(post, path = "/sdapi/v1/interrogate", tag = "webui",
    responses((status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 501, description = "It is not done here", body = SdError)))]
pub async fn interrogate(_caller: Caller) -> SdRefusal {
    not_here("interrogate", "describing a picture in words")
}

/// Makes an empty textual inversion: not in this version.
#[utoipa::path(post, path = "/sdapi/v1/create/embedding", tag = "webui",
    responses((status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 501, description = "It is not done here", body = SdError)))]
pub async fn create_embedding(_caller: Caller) -> SdRefusal {
    not_here("create/embedding", "making a textual inversion")
}

/// Makes an empty hypernetwork: not in this version.
#[utoipa::path(post, path = "/sdapi/v1/create/hypernetwork", tag = "webui",
    responses((status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 501, description = "It is not done here", body = SdError)))]
pub async fn create_hypernetwork(_caller: Caller) -> SdRefusal {
    not_here("create/hypernetwork", "making a hypernetwork")
}

/// Trains a textual inversion: not in this version.
#[utoipa::path(post, path = "/sdapi/v1/train/embedding", tag = "webui",
    responses((status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 501, description = "It is not done here", body = SdError)))]
pub async fn train_embedding(_caller: Caller) -> SdRefusal {
    not_here("train/embedding", "training a textual inversion")
}

/// Trains a hypernetwork: not in this version.
#[utoipa::path(post, path = "/sdapi/v1/train/hypernetwork", tag = "webui",
    responses((status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 501, description = "It is not done here", body = SdError)))]
pub async fn train_hypernetwork(_caller: Caller) -> SdRefusal {
    not_here("train/hypernetwork", "training a hypernetwork")
}

/// Ends the program: only its operator does that.
#[utoipa::path(post, path = "/sdapi/v1/server-kill", tag = "webui",
    responses((status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 404, description = "It is not open to clients", body = SdError)))]
pub async fn server_kill(_caller: Caller) -> SdRefusal {
    closed("server-kill")
}

/// Starts the program again: only its operator does that.
#[utoipa::path(post, path = "/sdapi/v1/server-restart", tag = "webui",
    responses((status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 404, description = "It is not open to clients", body = SdError)))]
pub async fn server_restart(_caller: Caller) -> SdRefusal {
    closed("server-restart")
}

/// Stops the program: only its operator does that.
#[utoipa::path(post, path = "/sdapi/v1/server-stop", tag = "webui",
    responses((status = 401, description = "The token is missing or wrong", body = SdError),
        (status = 404, description = "It is not open to clients", body = SdError)))]
pub async fn server_stop(_caller: Caller) -> SdRefusal {
    closed("server-stop")
}

fn not_here(name: &str, what: &str) -> SdRefusal {
    SdRefusal::new(
        501,
        format!("{name}: this version of photog has no engine for {what}"),
    )
}

/// The status of the WebUI when it was started without the flag that opens these.
fn closed(name: &str) -> SdRefusal {
    let text = format!(
        "{name} is not open to clients; the operator stops photog with SIGTERM or its service manager"
    );
    SdRefusal::new(404, text)
}
