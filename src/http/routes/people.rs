//! `/api/people`: who is trained, their records and pictures, and their removal.

use std::fs::File;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{MIB, PersonId},
    http::{
        error::{ApiRefusal, Refusal},
        state::App,
    },
    people::{Damage, People, PeopleError, Picture, Summary},
    store::read_bounded,
};

use super::queue::answer::held;

/// Largest picture that is sent. Validation pictures have a few hundred KB, photos some MB.
const PICTURE_BYTES_MAX: u64 = 64 * MIB;

/// A trained person.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonView {
    /// The id by which requests name the person.
    pub model_id: String,
    /// When the training was done.
    pub created: String,
    /// How long the training took.
    pub seconds: f64,
    /// Steps that were done.
    pub train_steps: u32,
    /// Photos that were trained with.
    pub used_images: u32,
    /// Likeness of the best validation picture; null if none was judged.
    pub score: Option<f32>,
    /// The checkpoint that was trained on.
    pub base: BaseView,
    /// The pack that networks came from, such as `demo`.
    pub pack: Option<String>,
    /// The words that the person is called by in prompts.
    pub caption: String,
    /// The LoRA, relative to the data folder.
    pub lora: String,
    /// The reference photo, relative to the data folder; `/api/people/<id>/reference` sends it.
    pub ref_image: String,
    /// The picture beside the LoRA, relative to the data folder; `/api/people/<id>/thumbnail` sends
    /// it.
    pub thumbnail: Option<String>,
}

/// A checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct BaseView {
    /// Its name.
    pub name: String,
    /// The hash of its file, if it was hashed.
    pub sha256: Option<String>,
}

/// A record that cannot be used.
#[derive(Debug, Serialize, ToSchema)]
pub struct DamageView {
    /// Whose it is.
    pub model_id: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Everybody.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeopleList {
    /// Trained persons, the newest first.
    pub people: Vec<PersonView>,
    /// Ids of those who are being trained now; one who is trained anew is among `people` as well.
    pub in_training: Vec<String>,
    /// Ids of those whose training ended too early. It goes on with the next training of that id, and
    /// what is left of it goes with the person's removal.
    pub unfinished: Vec<String>,
    /// Those whose record cannot be used.
    pub damaged: Vec<DamageView>,
}

/// What became of a removal.
#[derive(Debug, Serialize, ToSchema)]
pub struct Removal {
    /// Whose it was.
    pub model_id: String,
    /// No file of the person is left.
    pub removed: bool,
}

/// Everybody who is trained or in training.
#[utoipa::path(get, path = "/api/people", tag = "people",
    responses(
        (status = 200, body = PeopleList),
        (status = 401, description = "The token is missing or wrong")))]
pub async fn list(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Json<PeopleList>, ApiRefusal> {
    app.authorize(&headers)?;
    let looked = |people: &People| Ok((people.list()?, people.unfinished()?));
    let (listed, unfinished) = with_people(&app, looked).await?;
    let (now, early): (Vec<_>, Vec<_>) = unfinished.into_iter().partition(|one| one.in_training);
    let ids = |all: Vec<crate::people::Unfinished>| {
        let ids = all.into_iter().map(|one| one.model_id.to_string());
        ids.collect()
    };
    Ok(Json(PeopleList {
        people: listed.people.into_iter().map(PersonView::from).collect(),
        in_training: ids(now),
        unfinished: ids(early),
        damaged: listed.damaged.into_iter().map(DamageView::from).collect(),
    }))
}

/// The whole record of a trained person: settings, photos, losses, scores, checkpoints.
#[utoipa::path(get, path = "/api/people/{person}", tag = "people",
    params(("person" = String, Path, description = "The person's id")),
    responses(
        (status = 200, description = "The record as `person.json` has it", body = Object),
        (status = 401, description = "The token is missing or wrong"),
        (status = 404, description = "There is no trained person of this id"),
        (status = 500, description = "The record is damaged")))]
pub async fn one(
    State(app): State<App>,
    Path(person): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiRefusal> {
    app.authorize(&headers)?;
    let id = read_id(&person)?;
    let text = with_people(&app, move |people| people.get(&id)?.to_json()).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Removes a person for good: record, photos, LoRA, checkpoints, and what an unfinished training has
/// left.
#[utoipa::path(delete, path = "/api/people/{person}", tag = "people",
    params(("person" = String, Path, description = "The person's id")),
    responses(
        (status = 200, body = Removal),
        (status = 401, description = "The token is missing or wrong"),
        (status = 404, description = "There is nothing of a person of this id"),
        (status = 409, description = "The person is in training")))]
pub async fn remove(
    State(app): State<App>,
    Path(person): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Removal>, ApiRefusal> {
    app.authorize(&headers)?;
    let id = read_id(&person)?;
    let model_id = id.to_string();
    let removed = with_people(&app, move |people| people.remove(&id)).await?;
    if !removed {
        return Err(no_such_person(&person).into());
    }
    Ok(Json(Removal { model_id, removed }))
}

/// The reference photo of a trained person.
#[utoipa::path(get, path = "/api/people/{person}/reference", tag = "people",
    params(("person" = String, Path, description = "The person's id")),
    responses(
        (status = 200, description = "The photo, JPEG or PNG", content_type = "image/jpeg", body = Vec<u8>),
        (status = 401, description = "The token is missing or wrong"),
        (status = 404, description = "There is no trained person of this id, or the photo has gone")))]
pub async fn reference(
    State(app): State<App>,
    Path(person): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiRefusal> {
    let open = |people: &People, id: &PersonId| people.open_picture(id, Picture::Reference);
    picture(&app, &headers, &person, open).await
}

/// The picture beside the LoRA of a trained person.
#[utoipa::path(get, path = "/api/people/{person}/thumbnail", tag = "people",
    params(("person" = String, Path, description = "The person's id")),
    responses(
        (status = 200, description = "The picture, PNG or JPEG", content_type = "image/png", body = Vec<u8>),
        (status = 401, description = "The token is missing or wrong"),
        (status = 404, description = "There is no trained person of this id, or no such picture")))]
pub async fn thumbnail(
    State(app): State<App>,
    Path(person): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiRefusal> {
    let open = |people: &People, id: &PersonId| people.open_picture(id, Picture::Thumbnail);
    picture(&app, &headers, &person, open).await
}

/// A validation picture of a trained person.
#[utoipa::path(get, path = "/api/people/{person}/validation/{picture}", tag = "people",
    params(
        ("person" = String, Path, description = "The person's id"),
        ("picture" = String, Path, description = "Name of the file that `scores` of the record names")),
    responses(
        (status = 200, description = "The picture, JPEG or PNG", content_type = "image/jpeg", body = Vec<u8>),
        (status = 401, description = "The token is missing or wrong"),
        (status = 404, description = "There is no trained person of this id, or no such picture")))]
pub async fn validation(
    State(app): State<App>,
    Path((person, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiRefusal> {
    let open =
        move |people: &People, id: &PersonId| people.open_picture(id, Picture::Validation(&name));
    picture(&app, &headers, &person, open).await
}

async fn picture(
    app: &App,
    headers: &HeaderMap,
    person: &str,
    open: impl FnOnce(&People, &PersonId) -> Result<File, PeopleError> + Send + 'static,
) -> Result<Response, ApiRefusal> {
    app.authorize(headers)?;
    let id = read_id(person)?;
    let (file, length) = with_people(app, move |people| {
        let file = open(people, &id)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    })
    .await?;
    let room = app.reserve_answer(length.min(PICTURE_BYTES_MAX)).await;
    let bytes = with_people(app, |_| Ok(read_bounded(file, PICTURE_BYTES_MAX)?)).await?;
    let kind = media_type(&bytes).ok_or(PeopleError::NoPicture)?;
    let head = [
        (header::CONTENT_TYPE, kind),
        // Pictures of people stay in no cache.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((head, held(bytes.into(), room)).into_response())
}

/// The media type of a picture, by the signature of its file.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else {
        None
    }
}

/// Asks something of the files of people.
async fn with_people<T: Send + 'static>(
    app: &App,
    ask: impl FnOnce(&People) -> Result<T, PeopleError> + Send + 'static,
) -> Result<T, Refusal> {
    let people = app.0.people.clone();
    match tokio::task::spawn_blocking(move || ask(&people)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Refusal::new(
            500,
            "a fault of this program ended the request; try again",
        )),
    }
}

/// A text that cannot be an id names nobody.
fn read_id(person: &str) -> Result<PersonId, Refusal> {
    person.parse().map_err(|_| no_such_person(person))
}

fn no_such_person(person: &str) -> Refusal {
    let shown: String = person.chars().take(100).collect();
    Refusal::new(
        404,
        format!("there is no person {shown:?}; GET /api/people lists all"),
    )
}

impl From<Summary> for PersonView {
    fn from(summary: Summary) -> Self {
        Self {
            model_id: summary.model_id.to_string(),
            created: summary.created,
            seconds: summary.seconds,
            train_steps: summary.train_steps,
            used_images: summary.used_images,
            score: summary.best_score,
            base: BaseView {
                name: summary.base.name,
                sha256: summary.base.sha256,
            },
            pack: summary.pack,
            caption: summary.caption,
            lora: summary.lora,
            ref_image: summary.ref_image,
            thumbnail: summary.thumbnail,
        }
    }
}

impl From<Damage> for DamageView {
    fn from(damage: Damage) -> Self {
        Self {
            model_id: damage.model_id.to_string(),
            reason: damage.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_what_they_begin_with() {
        assert_eq!(media_type(b"\xff\xd8\xff\xe0.."), Some("image/jpeg"));
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\n.."), Some("image/png"));
        assert_eq!(media_type(b"<html>"), None);
        assert_eq!(media_type(b""), None);
    }
}
