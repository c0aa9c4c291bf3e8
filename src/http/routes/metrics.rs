//! `GET /metrics`: OpenMetrics for clients that ask for it, Prometheus' older text form for all
//! others.

use std::{collections::HashSet, fmt::Write as _};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use prometheus_client::encoding::text::encode;

use crate::{
    http::{
        error::{ApiRefusal, Refusal},
        state::App,
    },
    queue::Counts,
    scheduler::SlotState,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
const SLOT_STATES: [SlotState; 4] = [
    SlotState::Starting,
    SlotState::Idle,
    SlotState::Busy,
    SlotState::Draining,
];

/// All metrics.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses(
        (status = 200, description = "Metrics in Prometheus' text form, or in OpenMetrics' for clients that accept it", content_type = "text/plain", body = String),
        (status = 401, description = "The token is missing or wrong")))]
pub async fn scrape(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiRefusal> {
    app.authorize(&headers)?;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_gauges(&app, &app.0.store.counts().await?, &mut text);
    encode(&mut text, &app.0.registry).map_err(|error| Refusal::new(500, error.to_string()))?;
    let accept = headers.get(header::ACCEPT).map(|accept| accept.to_str());
    let is_open =
        matches!(accept, Some(Ok(types)) if types.contains("application/openmetrics-text"));
    let (kind, text) = if is_open {
        (OPEN_METRICS, text)
    } else {
        (PLAIN, plain(&text))
    };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// The older form: counters are declared under the name of their sample, and there are no units and
/// no end mark.
fn plain(text: &str) -> String {
    let counters: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut plain = String::with_capacity(text.len());
    for line in text.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                // Writing to a string does not fail.
                let _ = writeln!(plain, "# {what} {name}_total {rest}");
            }
            _ => {
                plain.push_str(line);
                plain.push('\n');
            }
        }
    }
    plain
}

/// Name, help and value of a gauge of a service.
type Gauge = (&'static str, &'static str, fn(&Counts) -> u64);

/// Numbers that are true at this moment and are kept elsewhere.
fn write_gauges(
    app: &App,
    counts: &[(std::sync::Arc<str>, Counts)],
    text: &mut String,
) -> std::fmt::Result {
    let gauge = |text: &mut String, name: &str, help: &str| {
        writeln!(text, "# HELP {name} {help}.\n# TYPE {name} gauge")
    };
    gauge(text, "photog_build", "Version of the program")?;
    writeln!(
        text,
        "photog_build{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    )?;
    gauge(text, "photog_slots", "Slots by state")?;
    for name in &app.0.order {
        for state in SLOT_STATES {
            let number = app.0.scheduler.count_slots(name, state);
            writeln!(
                text,
                "photog_slots{{service=\"{name}\",state=\"{}\"}} {number}",
                state.as_str()
            )?;
        }
    }
    gauge(text, "photog_jobs", "Jobs by state")?;
    for (name, counts) in counts {
        let states = [("waiting", counts.waiting), ("running", counts.in_hand)];
        for (state, number) in states {
            writeln!(
                text,
                "photog_jobs{{service=\"{name}\",state=\"{state}\"}} {number}"
            )?;
        }
    }
    let kept: [Gauge; 3] = [
        (
            "photog_results",
            "Results in the sink that nobody has taken",
            |counts| counts.results,
        ),
        (
            "photog_queue_bytes",
            "Payload bytes in both queues",
            |counts| counts.bytes,
        ),
        (
            "photog_dead_letters",
            "Entries in the rear queues",
            |counts| counts.dead,
        ),
    ];
    for (metric, help, value) in kept {
        gauge(text, metric, help)?;
        for (name, counts) in counts {
            writeln!(text, "{metric}{{service=\"{name}\"}} {}", value(counts))?;
        }
    }
    writeln!(
        text,
        "# HELP photog_puts Entries accepted since the start.\n# TYPE photog_puts counter"
    )?;
    for (name, counts) in counts {
        writeln!(
            text,
            "photog_puts_total{{service=\"{name}\"}} {}",
            counts.puts
        )?;
    }
    Ok(())
}
