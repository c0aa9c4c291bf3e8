//! `GET /api/events`: server-sent events for pages that show what happens.
//!
//! One event, `status`, with the numbers and slots of every service and the progress of running
//! jobs: at once, and then whenever something has changed, a few times a second at most.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::Stream;
use serde_json::{Value, json};

use crate::{
    http::{
        error::ApiRefusal,
        state::{App, until},
    },
    queue::JobKey,
};

use super::{jobs::TrainingView, services::slot_view};

/// Shortest time between two events.
const REST: Duration = Duration::from_millis(250);
/// Comment lines keep proxies from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Stream of `status` events.
#[utoipa::path(get, path = "/api/events", tag = "jobs",
    responses(
        (status = 200, description = "Server-sent events `status`: per service waiting, in_hand, results, slots and progress of running jobs, with `training` as a job has it", content_type = "text/event-stream", body = String),
        (status = 401, description = "The token is missing or wrong")))]
pub async fn stream(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiRefusal> {
    app.authorize(&headers)?;
    let events = futures_util::stream::unfold((app, None::<String>), |(app, last)| async move {
        let mut stopping = app.stopping();
        if last.is_some() {
            tokio::time::sleep(REST).await;
        }
        loop {
            let changed = app.0.changed.notified();
            let reported = app.0.scheduler.pool().reported().notified();
            let now = status(&app).await?.to_string();
            if last.as_ref() != Some(&now) {
                let event = Event::default().event("status").data(&now);
                return Some((Ok(event), (app.clone(), Some(now))));
            }
            tokio::select! {
                () = changed => {}
                () = reported => {}
                () = until(&mut stopping) => return None,
            }
            tokio::time::sleep(REST).await;
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// `None` when the store has closed.
async fn status(app: &App) -> Option<Value> {
    let pool = app.0.scheduler.pool();
    let slots = pool.statuses();
    let services: Vec<Value> = app
        .0
        .store
        .counts()
        .await
        .ok()?
        .into_iter()
        .map(|(name, counts)| {
            let ours = || slots.iter().filter(|slot| slot.service == name);
            let progress: Vec<Value> = ours()
                .filter_map(|slot| {
                    let index = slot.job?;
                    let job = JobKey {
                        service: name.clone(),
                        index,
                    };
                    let progress = pool.progress(&job)?;
                    Some(json!({
                        "job": format!("{name}-{index}"),
                        "progress": progress.fraction,
                        "note": progress.note,
                        "training": TrainingView::of(&progress),
                    }))
                })
                .collect();
            json!({
                "name": &*name,
                "waiting": counts.waiting,
                "in_hand": counts.in_hand,
                "results": counts.results,
                "slots": ours().map(|slot| slot_view(app, slot)).collect::<Vec<_>>(),
                "running": progress,
            })
        })
        .collect();
    Some(json!({ "services": services }))
}
