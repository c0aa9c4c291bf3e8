//! Days of random load against the scheduler, in a simulated world.
//!
//! Bursts, silences, long and short entries, changed policies, services that are stopped and
//! started, slots that crash, several services on devices too small for all of them. Every step
//! checks that no entry is lost or interrupted by scaling, that limits hold, and that the
//! scheduler reacts in time; at the end all entries are done and every service is back at `min`.
//!
//! A failing run prints its seed; `PHOTOG_TEST_SEED=<seed>` repeats just that run.

#[path = "scheduler_sim/rng.rs"]
mod rng;
#[path = "scheduler_sim/watch.rs"]
mod watch;
#[path = "scheduler_sim/world.rs"]
mod world;

use std::time::Duration;

use photog::{
    domain::{Metric, ScalingPolicy, ServiceKind, Strategy},
    scheduler::{Device, DeviceId, MemoryNeed, SlotId},
};
use rng::Rng;
use watch::Watch;
use world::{Design, Millis, World};

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;

/// Longest work on one entry.
const WORK_MAX: Millis = 20 * MINUTE;
/// Most entries of one slot's window.
const WINDOW_MAX: u64 = 3;
/// Longest window and zero grace of the policies.
const SETTLING_MAX: Millis = 10 * MINUTE;

#[test]
fn days_of_random_load_break_no_promise() {
    let seeds = match std::env::var("PHOTOG_TEST_SEED") {
        Ok(seed) => vec![seed.parse().expect("PHOTOG_TEST_SEED is a whole number")],
        Err(_) => (1..=24).collect(),
    };
    for seed in seeds {
        println!("PHOTOG_TEST_SEED={seed}");
        Run::new(seed).play(8 * HOUR);
    }
}

/// What a service's clients do for a while.
#[derive(Debug, Clone, Copy)]
struct Phase {
    ends: Millis,
    /// Time of the next put, and how long after it the one after that follows.
    next_put: Millis,
    pause: Millis,
    /// Puts still to come.
    puts: u64,
    work: (Millis, Millis),
}

/// One simulated run.
struct Run {
    rng: Rng,
    world: World,
    watch: Watch,
    phases: Vec<Phase>,
    /// Nothing unexpected happens after this.
    quiet_from: Millis,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let services = rng.within(1, 4) as usize;
        let designs = (0..services).map(|_| design(&mut rng)).collect();
        let devices = devices(&mut rng);
        let mut world = World::new(designs, devices);
        world.start_time = rng.within(0, 20 * SECOND);
        // The slot that has to go may hold a full window of the longest entries.
        let patience = (WINDOW_MAX + 1) * WORK_MAX + 2 * MINUTE;
        let phase = Phase {
            ends: 0,
            next_put: 0,
            pause: 0,
            puts: 0,
            work: (0, 0),
        };
        Self {
            rng,
            world,
            watch: Watch::new(services, patience),
            phases: vec![phase; services],
            quiet_from: 0,
        }
    }

    /// Random load for a while, then silence until everything has settled.
    fn play(mut self, load: Millis) {
        self.quiet_from = load;
        while self.world.now < load || !self.world.is_done() {
            assert!(self.world.now < 400 * HOUR, "entries are never finished");
            self.step();
        }
        let settled = self.world.now + 4 * SETTLING_MAX;
        while self.world.now < settled {
            self.step();
        }
        self.check_rest();
    }

    fn step(&mut self) {
        if self.world.now < self.quiet_from {
            self.accidents();
            for service in 0..self.phases.len() {
                self.put_what_is_due(service);
            }
        } else {
            self.resume_all();
        }
        self.world.settle();
        self.world.look();
        let seen = self.world.snapshot.clone();
        let decision = self.world.decide();
        self.watch.check(&seen, &decision, &self.world);
        self.world.now = self.next_moment(!decision.actions.is_empty());
    }

    /// The supervisor's rhythm: at every event, after every change, and at least each second.
    fn next_moment(&self, has_changed: bool) -> Millis {
        let now = self.world.now;
        let pause = if has_changed { 1 } else { SECOND };
        let puts = self.phases.iter().filter(|phase| phase.puts > 0);
        let next_put = puts
            .map(|phase| phase.next_put)
            .filter(|put| *put > now)
            .min();
        let events = [next_put, self.world.next_event()];
        events.into_iter().flatten().fold(now + pause, Millis::min)
    }

    fn put_what_is_due(&mut self, service: usize) {
        let now = self.world.now;
        if self.phases[service].ends <= now {
            self.phases[service] = self.phase();
        }
        while self.phases[service].puts > 0 && self.phases[service].next_put <= now {
            let phase = &mut self.phases[service];
            phase.puts -= 1;
            phase.next_put += phase.pause;
            let (shortest, longest) = phase.work;
            let work = self.rng.within(shortest, longest);
            self.world.put(service, work);
        }
    }

    fn phase(&mut self) -> Phase {
        let rng = &mut self.rng;
        let now = self.world.now;
        let length = rng.within(10 * SECOND, 40 * MINUTE);
        let (work, puts_max) = rng.pick(&[
            ((10, 900), 400),
            ((SECOND, 20 * SECOND), 40),
            ((MINUTE, WORK_MAX), 6),
        ]);
        let puts = rng.within(1, puts_max);
        // Silence, all at once, or spread over the phase.
        let (puts, pause) = rng.pick(&[(0, 0), (puts, 0), (puts, length / puts)]);
        Phase {
            ends: now + length,
            next_put: now + rng.within(0, 5 * SECOND),
            pause,
            puts,
            work,
        }
    }

    /// Crashes, changed policies, services stopped and started again.
    fn accidents(&mut self) {
        let service = self.rng.within(0, self.phases.len() as u64 - 1) as usize;
        let subject = &mut self.world.snapshot.services[service];
        let accident = self.rng.within(1, 10_000);
        if accident <= 3 {
            subject.policy = policy(&mut self.rng);
            self.watch.policy_changed(service);
        } else if accident <= 6 {
            let slots: Vec<SlotId> = subject.slots.iter().map(|slot| slot.id).collect();
            if !slots.is_empty() {
                let slot = self.rng.pick(&slots);
                self.world.crash(slot);
            }
        } else if self
            .rng
            .once_in(if subject.stopping { 100 } else { 10_000 })
        {
            subject.stopping = !subject.stopping;
        }
    }

    /// At the end every service runs and can work.
    fn resume_all(&mut self) {
        for service in &mut self.world.snapshot.services {
            service.stopping = false;
            if service.policy.max == 0 {
                service.policy = ScalingPolicy::fixed(1);
            }
        }
    }

    /// After the load every service has `min` slots, or as many of them as fit.
    fn check_rest(&self) {
        let quiet_for = self.world.now - self.watch.last_action();
        assert!(quiet_for > SETTLING_MAX, "still busy {quiet_for} ms ago");
        for (index, service) in self.world.snapshot.services.iter().enumerate() {
            let slots = service.slots.len() as u32;
            let min = service.policy.min;
            assert!(slots <= min, "{slots} slots are left of {min}: {service:?}");
            let is_short = slots < min && self.world.has_room(index);
            assert!(
                !is_short,
                "{slots} of {min} though there is room: {service:?}"
            );
        }
    }
}

fn design(rng: &mut Rng) -> Design {
    let (kind, window_max) = rng.pick(&[
        (ServiceKind::Async, WINDOW_MAX),
        (ServiceKind::ScalableJob, 1),
    ]);
    Design {
        kind,
        policy: policy(rng),
        instances: rng.within(0, 3) as u32,
        need: MemoryNeed {
            slot_bytes: rng.within(1, 6),
            shared_bytes: rng.within(0, 4),
        },
        window: rng.within(1, window_max) as usize,
    }
}

fn policy(rng: &mut Rng) -> ScalingPolicy {
    if rng.once_in(6) {
        return ScalingPolicy::fixed(rng.within(1, 3) as u32);
    }
    let min = rng.within(0, 2) as u32;
    let metrics = [Metric::Backlog, Metric::Waiting, Metric::PutRate];
    let rules = rng.within(1, 2);
    let strategies = (0..rules).map(|_| Strategy {
        metric: rng.pick(&metrics),
        threshold: rng.pick(&[0.5, 1.0, 2.0, 10.0]),
    });
    ScalingPolicy {
        strategies: strategies.collect(),
        min,
        max: min + rng.within(1, 6) as u32,
        scale_up_window: Duration::from_secs(rng.pick(&[0, 0, 1, 30])),
        scale_down_window: Duration::from_secs(rng.pick(&[0, 1, 60, 300, 600])),
        zero_grace: Duration::from_secs(rng.pick(&[0, 60, 600])),
        activation_replicas: rng.within(1, 3) as u32,
    }
}

/// One to three devices; each can hold at least one slot of any service.
fn devices(rng: &mut Rng) -> Vec<Device> {
    let count = rng.within(1, 3) as u32;
    let device = |id| Device {
        id: DeviceId(id),
        slots_max: rng.pick(&[None, Some(1), Some(2), Some(5)]),
        memory_bytes: rng.pick(&[None, Some(10), Some(14), Some(40)]),
        memory_free_bytes: None,
    };
    (0..count).map(device).collect()
}
