//! The engine that works on requests for pictures from a queue.

use std::{sync::Arc, time::Instant};

use serde_json::Value;

use super::{GenerateError, GenerateTask, artist::Artist, generate, progress::OfJob};
use crate::{
    domain::Problem,
    job::JobContext,
    pipeline::{
        Answer, Engine, JobInput,
        reply::{Failure, to_json},
        request::{self, RequestId},
    },
};

/// Longest request, in bytes.
const TASK_BYTES_MAX: usize = 128 << 20;

/// Keeps a picture on the server: gets its seed and its file, and says why it cannot.
pub type Keep = Arc<dyn Fn(i64, &[u8]) -> Result<(), String> + Send + Sync>;

/// Makes pictures, one request after another.
pub struct GenerateEngine<A> {
    artist: Arc<A>,
    keep: Option<Keep>,
}

impl<A: Artist> GenerateEngine<A> {
    /// An engine with these networks.
    pub fn new(artist: Arc<A>) -> Self {
        Self { artist, keep: None }
    }

    /// The same engine, which keeps pictures where requests ask for it.
    pub fn keeping(mut self, keep: Keep) -> Self {
        self.keep = Some(keep);
        self
    }

    fn make(&self, task: &GenerateTask, context: &JobContext) -> Result<Vec<u8>, GenerateError> {
        context.checkpoint().map_err(GenerateError::Stopped)?;
        let mut made = generate(task, &*self.artist, &mut OfJob::new(context))?;
        let files = made.files()?;
        if made.saves_pictures {
            self.save(&mut made.info, &files);
        }
        Ok(to_json(&made.answer(&files)))
    }

    /// Keeps the pictures; what goes wrong with that is said and costs the caller nothing.
    fn save(&self, info: &mut Value, files: &[Vec<u8>]) {
        let mut said = Vec::new();
        match &self.keep {
            None => said.push(String::from(
                "`save_images` was ignored: nothing is kept here",
            )),
            Some(keep) => {
                for (place, file) in files.iter().enumerate() {
                    let seed = info["all_seeds"][place].as_i64().unwrap_or_default();
                    said.extend(keep(seed, file).err());
                }
            }
        }
        if let Some(Value::Array(comments)) = info.get_mut("comments") {
            comments.extend(said.into_iter().map(Value::String));
        }
    }
}

impl<A: Artist> Engine for GenerateEngine<A> {
    fn run(&mut self, input: &JobInput, context: &JobContext) -> Answer {
        let started = Instant::now();
        if input.data.len() > TASK_BYTES_MAX {
            let text = "the request has more than 128 MiB; send smaller pictures";
            let failure = Failure::new(Problem::InvalidParameter, text);
            return failure.into_answer(&RequestId::generate(), started);
        }
        let (request_id, members) = request::open(input);
        let members = match members {
            Ok(members) => members,
            Err(failure) => return failure.into_answer(&request_id, started),
        };
        let task = serde_json::from_value::<GenerateTask>(Value::Object(members));
        let made = task
            .map_err(|error| GenerateError::Form(error.to_string()))
            .and_then(|task| self.make(&task, context));
        match made {
            Ok(body) => Answer::ok(body),
            Err(error) => {
                let status = error.status();
                let answer = Failure::from(error).into_answer(&request_id, started);
                Answer { status, ..answer }
            }
        }
    }
}
