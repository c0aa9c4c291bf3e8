//! The engine `echo`: a stand-in for a model, for trying clients, scaling, draining and fault
//! isolation (`service-config` section 2a).

use std::time::{Duration, Instant};

use super::{Answer, Engine, JobInput, reply::Failure, request};
use crate::{domain::Problem, job::JobContext};

/// Writes its input back after a fixed time.
///
/// Three inputs act otherwise: `FAIL <code>` answers with that HTTP status and the body `failed`,
/// `EMPTY` answers with nothing, and `PANIC` makes the engine panic, for trying whether the rest of
/// the program survives that.
#[derive(Debug, Clone)]
pub struct EchoEngine {
    delay: Duration,
}

impl EchoEngine {
    /// An engine that takes `delay` for every entry.
    pub fn new(delay: Duration) -> Self {
        Self { delay }
    }
}

impl Engine for EchoEngine {
    fn run(&mut self, input: &JobInput, context: &JobContext) -> Answer {
        let started = Instant::now();
        context.cancel.wait(self.delay.min(context.remaining()));
        if let Err(reason) = context.checkpoint() {
            let (request_id, _) = request::open(input);
            return Failure::from(reason).into_answer(&request_id, started);
        }
        match input.data.trim_ascii() {
            b"EMPTY" => Answer::ok(Vec::new()),
            b"PANIC" => panic!("the input asked for a panic"),
            command => match asked_status(command) {
                Some(status) => failed(status),
                None => Answer::ok(input.data.to_vec()),
            },
        }
    }
}

/// The status in `FAIL <code>`, if it is one that HTTP has.
fn asked_status(command: &[u8]) -> Option<u16> {
    let code = str::from_utf8(command.strip_prefix(b"FAIL ")?).ok()?;
    let is_status = code.len() == 3 && code.bytes().all(|digit| digit.is_ascii_digit());
    code.parse()
        .ok()
        .filter(|status| is_status && (100..600).contains(status))
}

fn failed(status: u16) -> Answer {
    Answer {
        status,
        body: b"failed".to_vec(),
        problem: (status != 200).then_some(Problem::InternalError),
        message: format!("the input asked for status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        domain::Tags,
        job::{CancelReason, CancelToken, FinishToken},
    };

    fn context(time: Duration) -> JobContext {
        JobContext {
            cancel: CancelToken::default(),
            finish: FinishToken::default(),
            deadline: Instant::now() + time,
            progress: Arc::new(()),
            device: String::from("cpu"),
        }
    }

    fn run(delay: Duration, data: &'static [u8], context: &JobContext) -> Answer {
        let input = JobInput {
            data: bytes::Bytes::from_static(data),
            tags: Tags::default(),
        };
        EchoEngine::new(delay).run(&input, context)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn any_other_input_comes_back_unchanged() {
        for data in [
            &b""[..],
            b"hello",
            b"\0\xff",
            b"FAIL",
            b"FAIL 99",
            b"FAIL 600",
            b"FAIL 0500",
            b"FAIL +50",
            b"FAIL x",
            b"EMPTYish",
        ] {
            let answer = run(Duration::ZERO, data, &context(MINUTE));
            assert_eq!(answer, Answer::ok(data.to_vec()));
        }
    }

    #[test]
    fn commands_act_as_a_model_that_fails_or_says_nothing() {
        for (data, status) in [(&b"FAIL 503"[..], 503), (b"FAIL 400\n", 400)] {
            let answer = run(Duration::ZERO, data, &context(MINUTE));
            assert_eq!((answer.status, &*answer.body), (status, &b"failed"[..]));
            assert!(answer.problem.is_some());
        }
        let empty = run(Duration::ZERO, b"EMPTY", &context(MINUTE));
        assert_eq!(empty, Answer::ok(Vec::new()));
    }

    #[test]
    #[should_panic(expected = "asked for a panic")]
    fn panic_panics() {
        run(Duration::ZERO, b"PANIC", &context(MINUTE));
    }

    #[test]
    fn a_cancelled_wait_ends_at_once_with_its_reason() {
        for (reason, problem) in [
            (CancelReason::User, Problem::Cancelled),
            (CancelReason::Deadline, Problem::Timeout),
            (CancelReason::Shutdown, Problem::Interrupted),
        ] {
            let context = context(MINUTE);
            context.cancel.cancel(reason);
            // Were the wait not ended, this test would run for a minute and then time out.
            let answer = run(MINUTE * 60, b"{\"request_id\": 8}", &context);
            assert_eq!(answer.problem, Some(problem));
            assert!(answer.body.starts_with(b"{\"request_id\":8,"));
            assert_eq!(answer.status, problem.http_status());
        }
    }

    #[test]
    fn a_delay_beyond_the_deadline_times_out_at_the_deadline() {
        let answer = run(MINUTE * 60, b"x", &context(Duration::from_millis(5)));
        assert_eq!(answer.problem, Some(Problem::Timeout));
    }
}
