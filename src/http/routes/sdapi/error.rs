//! Refusals in the WebUI's form: `error`, `detail`, `body` and `errors`.

use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::http::{
    error::{Refusal, STATUS_QUEUE_FULL},
    state::App,
};

/// What a refused or failed request is answered with.
#[derive(Debug, Serialize, ToSchema)]
pub struct SdError {
    /// A word for the kind of failure.
    pub error: String,
    /// What happened, what it means, what to do.
    pub detail: String,
    /// Always empty.
    pub body: String,
    /// The same as `detail`.
    pub errors: String,
}

/// A refusal that is answered in this form.
#[derive(Debug)]
pub struct SdRefusal {
    refusal: Refusal,
    /// The word, where the status does not say it.
    code: Option<String>,
}

impl SdRefusal {
    /// A refusal with this status and text.
    pub(super) fn new(status: u16, text: impl Into<String>) -> Self {
        Refusal::new(status, text).into()
    }

    /// The failure of a job. A status that is none of a failure becomes that of a fault.
    pub(super) fn failed(status: u16, code: impl Into<String>, text: impl Into<String>) -> Self {
        let status = if (400..600).contains(&status) {
            status
        } else {
            500
        };
        Self {
            refusal: Refusal::new(status, text),
            code: Some(code.into()),
        }
    }
}

impl<E: Into<Refusal>> From<E> for SdRefusal {
    fn from(error: E) -> Self {
        let mut refusal = error.into();
        // Clients of the WebUI do not know the number of EAS.
        if refusal.status == STATUS_QUEUE_FULL {
            refusal.status = 503;
        }
        Self {
            refusal,
            code: None,
        }
    }
}

impl IntoResponse for SdRefusal {
    fn into_response(self) -> Response {
        let Refusal { message, .. } = &self.refusal;
        let error = SdError {
            error: self.code.unwrap_or_else(|| self.refusal.code().to_owned()),
            detail: message.clone(),
            body: String::new(),
            errors: message.clone(),
        };
        let mut response = (self.refusal.status_code(), Json(error)).into_response();
        if self.refusal.status == 401 {
            let basic = HeaderValue::from_static("Basic");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, basic);
        }
        response
    }
}

/// A caller who may use the WebUI's routes: with the token of the service that makes pictures, or
/// the program's.
pub struct Caller;

impl FromRequestParts<App> for Caller {
    type Rejection = SdRefusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, SdRefusal> {
        let (headers, path) = (&parts.headers, parts.uri.path());
        match app.sd_service() {
            Some(entry) => app.authorize_service(entry, headers, &parts.method, path)?,
            None => app.authorize(headers)?,
        }
        Ok(Self)
    }
}

/// Answers of a route that lists something.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers for the document")]
pub enum Listed {
    /// What there is, in the WebUI's form
    #[response(status = 200)]
    Found(#[to_schema] serde_json::Value),
    /// The token is missing or wrong
    #[response(status = 401)]
    Unauthorized(#[to_schema] SdError),
}

/// Answers of a route that does something at once.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers for the document")]
pub enum Done {
    /// It is done
    #[response(status = 200)]
    Done,
    /// The token is missing or wrong
    #[response(status = 401)]
    Unauthorized(#[to_schema] SdError),
}
