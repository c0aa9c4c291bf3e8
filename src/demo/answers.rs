//! What of the answers of the appliance is read, by the forms of `portrait-api` and of `/api/jobs`.

use serde::{Deserialize, de::DeserializeOwned};

use super::DemoError;

/// What each result begins with.
#[derive(Debug, Deserialize)]
struct Head {
    code: String,
    #[serde(default)]
    message: String,
}

/// A result of `photog_check`.
#[derive(Debug, Deserialize)]
pub(super) struct Checked {
    pub(super) check_results: Vec<Judged>,
    pub(super) same_person: Option<bool>,
    pub(super) cost_time: f64,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}

/// A verdict on one photo.
#[derive(Debug, Deserialize)]
pub(super) struct Judged {
    pub(super) code: u8,
    pub(super) frontal: bool,
    pub(super) message: String,
}

/// A result of `photog_train_pmml`.
#[derive(Debug, Deserialize)]
pub(super) struct Trained {
    pub(super) model_id: String,
    pub(super) used_images: u32,
    pub(super) train_steps: u32,
    pub(super) score: Option<f32>,
    pub(super) cost_time: f64,
}

/// A result of `photog_pre_pmml`.
#[derive(Debug, Deserialize)]
pub(super) struct Made {
    /// A JPEG in base64.
    pub(super) image: String,
    pub(super) cost_time: f64,
    #[serde(default)]
    pub(super) seed: Option<i64>,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}

/// A job that waits or is worked on.
#[derive(Debug, Deserialize)]
pub(super) struct Job {
    pub(super) request_id: String,
    pub(super) state: String,
    pub(super) progress: Option<f64>,
    pub(super) training: Option<Steps>,
}

/// Where a training stands.
#[derive(Debug, Deserialize)]
pub(super) struct Steps {
    pub(super) loss: Option<f64>,
}

/// A page of jobs.
#[derive(Debug, Deserialize)]
pub(super) struct Jobs {
    pub(super) jobs: Vec<Job>,
}

/// Reads the result of what was asked for.
pub(super) fn result<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, DemoError> {
    let head: Head = document(what, body)?;
    if head.code != "OK" {
        return Err(DemoError::Failed {
            what: what.to_owned(),
            code: head.code,
            message: head.message,
        });
    }
    document(what, body)
}

/// Reads a document of JSON.
pub(super) fn document<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, DemoError> {
    serde_json::from_slice(body).map_err(|error| DemoError::Server {
        what: what.to_owned(),
        reason: format!("its answer cannot be read: {error}"),
    })
}

impl Checked {
    /// What is said of the photo at this place.
    pub(super) fn reason(&self, at: usize) -> Option<&str> {
        let (verdict, copy) = (format!("images[{at}]: "), format!("images[{at}] "));
        self.warnings
            .iter()
            .find_map(|text| text.strip_prefix(&verdict).or(text.strip_prefix(&copy)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_without_success_is_an_error_in_its_own_words() {
        let body = br#"{"code": "NO_FACE_IN_TEMPLATE", "message": "send another", "cost_time": 1}"#;
        let error = result::<Made>("the portrait of alma", body).unwrap_err();
        let text = error.to_string();
        assert_eq!(
            text,
            "the portrait of alma failed with NO_FACE_IN_TEMPLATE: send another"
        );
        let odd = result::<Made>("the portrait of alma", br#"{"code": "OK"}"#).unwrap_err();
        assert!(matches!(odd, DemoError::Server { .. }), "{odd}");
    }

    #[test]
    fn what_is_said_of_a_photo_is_found_by_its_place() {
        let checked = Checked {
            check_results: Vec::new(),
            same_person: None,
            cost_time: 0.0,
            warnings: [
                "made with",
                "images[1]: dark",
                "images[11] is the same shot",
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        assert_eq!(checked.reason(0), None);
        assert_eq!(checked.reason(1), Some("dark"));
        assert_eq!(checked.reason(11), Some("is the same shot"));
    }
}
