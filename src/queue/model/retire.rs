//! What leaves by itself as time passes: groups, and results that nobody takes.

use std::sync::Arc;

use super::{Entry, Millis, Model, Outbox, QueueKey, Side, group::Group};

/// When results leave by themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retire {
    pub(crate) results_older_than: Millis,
    pub(crate) results_per_service_max: usize,
}

impl Model {
    /// Forgets groups whose grace is over and callers that have gone, and drops results that are
    /// too old or too many.
    pub(crate) fn tick(&mut self, retire: Retire, now: Millis, out: &mut Outbox) {
        let keys: Vec<QueueKey> = self.queues.keys().cloned().collect();
        for key in keys {
            let grace = self.grace(&key);
            let Some(queue) = self.queues.get_mut(&key) else {
                continue;
            };
            queue.drop_gone_waiters();
            let over = |group: &Group| {
                group.engine.is_none() && group.empty_since.is_some_and(|left| now - left >= grace)
            };
            let forgotten: Vec<Arc<str>> = queue
                .groups
                .values()
                .filter(|group| over(group))
                .map(|g| Arc::clone(&g.name))
                .collect();
            for group in forgotten {
                self.forget(&key, &group, now, out);
            }
            if key.side == Side::Sink || key.rear {
                self.retire_results(&key, retire, now, out);
            }
        }
    }

    fn retire_results(&mut self, key: &QueueKey, retire: Retire, now: Millis, out: &mut Outbox) {
        let Some(queue) = self.queues.get(key) else {
            return;
        };
        // A Queue service's sink is filled by clients, but results are results.
        let excess = queue
            .entries
            .len()
            .saturating_sub(retire.results_per_service_max);
        let too_old = |entry: &Entry| now - entry.created > retire.results_older_than;
        let retired: Vec<u64> = queue
            .entries
            .iter()
            .enumerate()
            .take_while(|(at, (_, entry))| *at < excess || too_old(entry))
            .map(|(_, (index, _))| index)
            .collect();
        self.delete(key, &retired, now, out);
    }

    fn forget(&mut self, key: &QueueKey, group: &str, now: Millis, out: &mut Outbox) {
        let Some(queue) = self.queues.get_mut(key) else {
            return;
        };
        let unneeded = queue.forget_group(group);
        self.delete(key, &unneeded, now, out);
    }
}
