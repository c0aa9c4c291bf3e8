//! The recommendations of the past, and their extremes within a time window.
//!
//! A recommendation holds from its tick until the next one. Growth asks for the smallest
//! recommendation of the scale-up window, shrinking for the largest of the scale-down window, so
//! all that ever matters of the past are the values that no later one has exceeded (or undercut).
//! They form a staircase: exact for a window of any length, also one that is changed at run time,
//! and never longer than there are different recommendations, however often ticks come.

use std::time::Duration;

/// A past recommendation and the time of the tick that replaced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Past {
    want: u32,
    until: Duration,
}

impl Past {
    /// True when it was still in force at some moment after `now - window`.
    fn is_within(self, window: Duration, now: Duration) -> bool {
        self.until.saturating_add(window) > now
    }
}

/// What is remembered of one service between two decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Start of the service.
    since: Duration,
    latest: Option<u32>,
    /// Past wants above all later ones: falling, the oldest first.
    higher: Vec<Past>,
    /// Past wants below all later ones: rising, the oldest first.
    lower: Vec<Past>,
    /// Since when the service has had work and no slot.
    starved_since: Option<Duration>,
}

impl History {
    /// The empty history of a service that starts at this time.
    pub fn starting_at(since: Duration) -> Self {
        Self {
            since,
            latest: None,
            higher: Vec::new(),
            lower: Vec::new(),
            starved_since: None,
        }
    }

    /// True before the first decision.
    pub fn is_empty(&self) -> bool {
        self.latest.is_none()
    }

    /// Since when the service has had work and no slot; `None` when that is not so.
    pub fn starved_since(&self) -> Option<Duration> {
        self.starved_since
    }

    /// Adds the recommendation of a tick. Ticks come in the order of time.
    pub(super) fn record(&mut self, now: Duration, want: u32) {
        let Some(previous) = self.latest.replace(want) else {
            return;
        };
        let past = Past {
            want: previous,
            until: now,
        };
        if previous > want {
            self.higher.push(past);
            drop_from_end(&mut self.lower, |lower| lower.want >= want);
        }
        if previous < want {
            self.lower.push(past);
            drop_from_end(&mut self.higher, |higher| higher.want <= want);
        }
    }

    /// Notes whether the service has work and no slot.
    pub(super) fn record_starvation(&mut self, now: Duration, is_starved: bool) {
        self.starved_since = is_starved.then(|| self.starved_since.unwrap_or(now));
    }

    /// The smallest recommendation within the window that ends now; a window of 0 holds just the
    /// latest one. 0 when there is none.
    pub(super) fn lowest(&self, window: Duration, now: Duration) -> u32 {
        first_within(&self.lower, window, now)
            .or(self.latest)
            .unwrap_or(0)
    }

    /// The largest recommendation within the window that ends now; `None` while the service is
    /// younger than the window.
    pub(super) fn highest(&self, window: Duration, now: Duration) -> Option<u32> {
        if self.since.saturating_add(window) > now {
            return None;
        }
        first_within(&self.higher, window, now).or(self.latest)
    }

    /// Number of past recommendations kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.higher.len() + self.lower.len()
    }
}

/// The oldest step inside the window is also its extreme.
fn first_within(steps: &[Past], window: Duration, now: Duration) -> Option<u32> {
    let oldest = steps.partition_point(|step| !step.is_within(window, now));
    steps.get(oldest).map(|step| step.want)
}

fn drop_from_end(steps: &mut Vec<Past>, is_obsolete: impl Fn(&Past) -> bool) {
    let kept = steps.partition_point(|step| !is_obsolete(step));
    steps.truncate(kept);
}
