//! Metrics in Prometheus' form.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// How long commits of the queue take and how many commands share one.
#[derive(Debug, Clone)]
pub struct CommitMetrics {
    seconds: Histogram,
    rows: Histogram,
}

impl Default for CommitMetrics {
    fn default() -> Self {
        Self {
            // 50 us, a fast NVMe drive, to 1.6 s, a disk in trouble.
            seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            rows: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
        }
    }
}

impl CommitMetrics {
    /// Counts one commit.
    pub fn record(&self, took: Duration, commands: usize) {
        self.seconds.observe(took.as_secs_f64());
        self.rows.observe(commands as f64);
    }

    /// Lists them under their public names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "photog_commit",
            "Time from the begin of a queue transaction until it is on disk",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "photog_commit_rows",
            "Queue commands that shared one commit",
            self.rows.clone(),
        );
    }
}

/// Label of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabel {
    service: String,
}

/// Labels of an ended job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    service: String,
    code: String,
}

/// How long jobs take and how they end.
#[derive(Debug, Clone)]
pub struct JobMetrics {
    waited: Family<ServiceLabel, Histogram>,
    seconds: Family<ServiceLabel, Histogram>,
    ended: Family<EndLabels, Counter>,
}

impl Default for JobMetrics {
    fn default() -> Self {
        Self {
            waited: Family::new_with_constructor(job_histogram),
            seconds: Family::new_with_constructor(job_histogram),
            ended: Family::default(),
        }
    }
}

impl JobMetrics {
    /// Counts how long an entry waited from put to the hands of a slot.
    pub fn record_wait(&self, service: &str, waited: Duration) {
        let label = ServiceLabel {
            service: service.to_owned(),
        };
        self.waited
            .get_or_create(&label)
            .observe(waited.as_secs_f64());
    }

    /// Counts one job that a slot worked on. `code` is `OK` or a problem code.
    pub fn record(&self, service: &str, took: Duration, code: &str) {
        let service = service.to_owned();
        let label = ServiceLabel {
            service: service.clone(),
        };
        self.seconds
            .get_or_create(&label)
            .observe(took.as_secs_f64());
        self.ended
            .get_or_create(&EndLabels {
                service,
                code: code.to_owned(),
            })
            .inc();
    }

    /// Lists them under their public names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "photog_queue_wait",
            "Time from put until a slot took the entry",
            Unit::Seconds,
            self.waited.clone(),
        );
        registry.register_with_unit(
            "photog_job",
            "Time that a slot worked on a job",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "photog_jobs_ended",
            "Jobs that slots ended, by the code of their result",
            self.ended.clone(),
        );
    }
}

/// 5 ms, an echo, to 90 minutes, a long training.
fn job_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.5, 16))
}
