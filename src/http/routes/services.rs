//! `GET /api/services`: what runs, with every setting in effect.

use axum::{Json, extract::State, http::HeaderMap};
use serde_json::{Value, json};

use crate::{
    http::{error::ApiRefusal, state::App},
    workers::SlotStatus,
};

use super::time_text;

/// All services with their slots and settings.
#[utoipa::path(get, path = "/api/services", tag = "services",
    responses(
        (status = 200, description = "Services with their slots, the values in effect, the JSON as it was given, and what of it has no effect here", body = Object),
        (status = 401, description = "The token is missing or wrong")))]
pub async fn list(State(app): State<App>, headers: HeaderMap) -> Result<Json<Value>, ApiRefusal> {
    app.authorize(&headers)?;
    let slots = app.0.scheduler.pool().statuses();
    let services: Result<Vec<Value>, serde_json::Error> = app
        .0
        .order
        .iter()
        .filter_map(|name| app.0.services.get(name))
        .map(|entry| {
            let mut view = serde_json::to_value(entry.service.view())?;
            let name = &entry.spec().name;
            let ours = slots.iter().filter(|slot| *slot.service == **name);
            view["slots"] = ours.map(|slot| slot_view(&app, slot)).collect();
            if let Some(report) = app.0.scheduler.report(name) {
                view["autoscaler"]["max"] = report.max.into();
                if let Some(reason) = report.reason {
                    view["autoscaler"]["reason"] = reason.into();
                }
            }
            Ok(view)
        })
        .collect();
    let services =
        services.map_err(|error| crate::http::error::Refusal::new(500, error.to_string()))?;
    Ok(Json(json!({ "services": services })))
}

pub(super) fn slot_view(app: &App, slot: &SlotStatus) -> Value {
    json!({
        "id": slot.id.0,
        "state": slot.state.as_str(),
        "since": time_text(slot.since_ms),
        "device": app.0.scheduler.pool().device_name(slot.device),
        "job": slot.job.map(|index| format!("{}-{index}", slot.service)),
    })
}
