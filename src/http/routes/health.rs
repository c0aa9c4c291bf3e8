//! `/healthz` and `/readyz`. Open without a token: they say nothing private, and probes have none.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{http::state::App, models::supply, pipeline::lack_of};

/// What one service can do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ability {
    /// Its entries are worked on with success.
    pub able: bool,
    /// What is missing and what to do; with `able`, it is a part that is missing.
    pub reason: Option<String>,
}

/// Whether entries are accepted, and what each service can do with them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Entries are accepted and stored.
    pub ready: bool,
    /// `ok`, `degraded` when some service lacks something, or why nothing is accepted.
    pub status: String,
    /// Each service.
    pub services: BTreeMap<String, Ability>,
    /// The pack that networks come from now, such as `demo`; null when they are those of the data
    /// folder.
    pub pack: Option<String>,
    /// What is to be known about results although nothing is missing.
    pub warnings: Vec<String>,
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation",
    responses((status = 200, description = "The process answers", body = String)))]
pub async fn alive() -> &'static str {
    "ok"
}

/// The database can be used, and what each service can do.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "Entries are accepted", body = Readiness),
        (status = 503, description = "Entries are not accepted", body = Readiness)))]
pub async fn ready(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let looking = app.clone();
    // It looks at files.
    let looked = tokio::task::spawn_blocking(move || {
        let pack = looking.0.shelf.supply().pack();
        (abilities(&looking), pack)
    });
    let (services, pack, unseen) = match looked.await {
        Ok((services, pack)) => (services, pack, None),
        Err(_) => (
            BTreeMap::new(),
            None,
            Some("what services can do was not found out; try again"),
        ),
    };
    let refusal = match app.check_running() {
        Err(refusal) => Some(refusal.message),
        Ok(()) => app
            .0
            .store
            .check()
            .await
            .err()
            .map(|error| error.to_string())
            .or_else(|| unseen.map(str::to_owned)),
    };
    let (code, status) = match &refusal {
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why.clone()),
        None if services.values().all(|service| service.reason.is_none()) => {
            (StatusCode::OK, "ok".to_owned())
        }
        None => (StatusCode::OK, "degraded".to_owned()),
    };
    (
        code,
        Json(Readiness {
            ready: refusal.is_none(),
            status,
            services,
            pack: pack.map(|pack| pack.to_string()),
            warnings: pack
                .map(supply::notice)
                .map(str::to_owned)
                .into_iter()
                .collect(),
        }),
    )
}

/// What each service can do, as far as the files of its networks tell.
fn abilities(app: &App) -> BTreeMap<String, Ability> {
    let services = app.0.services.values();
    services
        .map(|entry| {
            let spec = entry.spec();
            let lack = spec.role.and_then(|role| lack_of(role, &app.0.shelf));
            let ability = Ability {
                able: lack.as_ref().is_none_or(|lack| lack.able),
                reason: lack.map(|lack| lack.text),
            };
            (spec.name.clone(), ability)
        })
        .collect()
}
