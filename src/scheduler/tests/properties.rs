//! What holds for every snapshot, also for those that should never come about.

use std::collections::BTreeSet;

use proptest::{collection::vec, option, prelude::*};

use super::{
    bench::{Bench, device, seconds, service, strategy},
    repeatable,
};
use crate::{
    domain::{Metric, ScalingPolicy, ServiceKind, Strategy as Rule},
    scheduler::{
        Action, Device, DeviceId, MemoryNeed, Mismatch, ServiceSnapshot, Slot, SlotId, SlotState,
        Snapshot, decide,
    },
};

/// Every snapshot is of this second.
const NOW: u64 = 1000;

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let metric = prop_oneof![
        Just(Metric::Backlog),
        Just(Metric::Waiting),
        Just(Metric::PutRate)
    ];
    vec((metric, 0.1_f64..5.0), 0..3).prop_map(|rules| {
        rules
            .into_iter()
            .map(|(metric, threshold)| strategy(metric, threshold))
            .collect()
    })
}

prop_compose! {
    fn policies()(
        min in 0_u32..4,
        more in 0_u32..6,
        strategies in rules(),
        (up, down, grace) in (0_u64..40, 0_u64..80, 0_u64..120),
        activation_replicas in 1_u32..4,
    ) -> ScalingPolicy {
        ScalingPolicy {
            min,
            max: min + more,
            strategies,
            scale_up_window: seconds(up),
            scale_down_window: seconds(down),
            zero_grace: seconds(grace),
            activation_replicas,
        }
    }
}

prop_compose! {
    fn slots()(
        slots in vec((0_u8..4, 0..NOW, 0_u32..4), 0..8),
    ) -> Vec<Slot> {
        let slot = |(state, since, device)| Slot {
            id: SlotId(0),
            state: [SlotState::Starting, SlotState::Idle, SlotState::Busy, SlotState::Draining]
                [usize::from(state)],
            since: seconds(since),
            device: DeviceId(device),
        };
        slots.into_iter().map(|(state, since, device): (u8, u64, u32)| slot((state, since, device))).collect()
    }
}

prop_compose! {
    fn services()(
        policy in policies(),
        slots in slots(),
        waiting in prop_oneof![Just(0_u64), 1_u64..30],
        puts_per_second in 0.0_f64..20.0,
        (slot_bytes, shared_bytes) in (0_u64..6, 0_u64..6),
        past in vec(0_u32..10, 0..6),
        starved_since in option::of(0..NOW),
        starts_held_until in option::weighted(0.1, 0..2 * NOW),
        stopping in prop::bool::weighted(0.1),
        is_queue in prop::bool::weighted(0.05),
    ) -> ServiceSnapshot {
        let at_work = |slot: &&Slot| matches!(slot.state, SlotState::Busy | SlotState::Draining);
        let in_hand = slots.iter().filter(at_work).count() as u64;
        let mut service = service(policy);
        for (tick, want) in past.into_iter().enumerate() {
            service.history.record(seconds(NOW - 100 + 10 * tick as u64), want);
        }
        if let Some(since) = starved_since {
            service.history.record_starvation(seconds(since), true);
        }
        ServiceSnapshot {
            kind: if is_queue { ServiceKind::Queue } else { ServiceKind::Async },
            quiet_since: (waiting + in_hand == 0).then(|| seconds(NOW - 50)),
            in_hand,
            slots,
            waiting,
            puts_per_second,
            need: MemoryNeed { slot_bytes, shared_bytes },
            starts_held_until: starts_held_until.map(seconds),
            stopping,
            ..service
        }
    }
}

prop_compose! {
    fn snapshots()(
        mut services in vec(services(), 0..5),
        limits in vec((option::of(0_u32..6), option::of(0_u64..40), option::of(0_u64..40)), 0..4),
    ) -> Snapshot {
        let slots = services.iter_mut().flat_map(|service| &mut service.slots);
        for (id, slot) in slots.enumerate() {
            slot.id = SlotId(id as u64);
        }
        let device = |(id, (slots_max, memory_bytes, memory_free_bytes))| Device {
            id: DeviceId(id),
            slots_max,
            memory_bytes,
            memory_free_bytes,
        };
        Snapshot { services, devices: (0..).zip(limits).map(device).collect() }
    }
}

/// Slots and reserved bytes of all services on a device.
fn use_of(snapshot: &Snapshot, device: DeviceId) -> (u32, u64) {
    let used = snapshot.services.iter().map(|service| {
        let on_device = |slot: &&Slot| slot.device == device;
        let slots = service.slots.iter().filter(on_device).count() as u32;
        (slots, service.need.of_slots(slots))
    });
    used.fold((0, 0), |sum, used| (sum.0 + used.0, sum.1 + used.1))
}

fn has_starved_service(snapshot: &Snapshot) -> bool {
    let starved = |service: &ServiceSnapshot| service.waiting > 0 && service.slots.is_empty();
    snapshot.services.iter().any(starved)
}

proptest! {
    #![proptest_config(repeatable(2000))]

    #[test]
    fn the_same_snapshot_gives_the_same_decision(snapshot in snapshots()) {
        let copy = snapshot.clone();
        prop_assert_eq!(decide(&snapshot, seconds(NOW)), decide(&copy, seconds(NOW)));
        prop_assert_eq!(snapshot, copy);
    }

    #[test]
    fn each_action_fits_the_state_of_its_slot_and_names_it_once(snapshot in snapshots()) {
        let slots: Vec<Slot> = snapshot.services.iter().flat_map(|s| s.slots.clone()).collect();
        let mut named = BTreeSet::new();
        for action in decide(&snapshot, seconds(NOW)).actions {
            let (id, state) = match action {
                Action::Stop { slot } => (slot, SlotState::Idle),
                Action::Drain { slot } => (slot, SlotState::Busy),
                Action::Undrain { slot } => (slot, SlotState::Draining),
                Action::Start { service, device } => {
                    prop_assert!(service < snapshot.services.len());
                    prop_assert!(snapshot.devices.iter().any(|listed| listed.id == device));
                    continue;
                }
            };
            let slot = slots.iter().find(|slot| slot.id == id);
            prop_assert_eq!(slot.map(|slot| slot.state), Some(state), "{:?}", action);
            prop_assert!(named.insert(id), "{:?} twice", id);
        }
    }

    #[test]
    fn no_decision_breaks_a_limit_that_held(snapshot in snapshots()) {
        let before = snapshot.clone();
        let mut bench = Bench::new(snapshot.services, snapshot.devices);
        bench.decide(seconds(NOW));
        let after = bench.snapshot;
        for (was, is) in before.services.iter().zip(&after.services) {
            prop_assert!(is.slots.len() <= was.slots.len().max(is.policy.max as usize));
            prop_assert!(is.slots.len() <= was.slots.len() || !is.stopping);
        }
        for device in &after.devices {
            let (slots_before, bytes_before) = use_of(&before, device.id);
            let (slots, bytes) = use_of(&after, device.id);
            prop_assert!(slots <= slots_before.max(device.slots_max.unwrap_or(u32::MAX)));
            prop_assert!(bytes <= bytes_before.max(device.memory_bytes.unwrap_or(u64::MAX)));
        }
    }

    #[test]
    fn with_a_line_nothing_shrinks_below_max_and_all_marks_are_lifted(snapshot in snapshots()) {
        prop_assume!(!has_starved_service(&snapshot));
        let before = snapshot.clone();
        let mut bench = Bench::new(snapshot.services, snapshot.devices);
        let decision = bench.decide(seconds(NOW));
        for (index, report) in decision.services.iter().enumerate() {
            let was = &before.services[index];
            let is = &bench.snapshot.services[index];
            let capacity = was.slots.len() as u32 - was.count(SlotState::Draining);
            if was.waiting > 0 {
                let active = is.slots.len() as u32 - is.count(SlotState::Draining);
                prop_assert!(active >= capacity.min(report.max));
                prop_assert!(active <= report.max.max(capacity));
                prop_assert!(is.count(SlotState::Draining) == 0 || active >= report.max);
            }
        }
    }

    #[test]
    fn no_device_is_left_with_room_for_a_slot_that_is_due(snapshot in snapshots()) {
        prop_assume!(!has_starved_service(&snapshot));
        let before = snapshot.clone();
        let mut bench = Bench::new(snapshot.services, snapshot.devices);
        let decision = bench.decide(seconds(NOW));
        for (service, report) in bench.snapshot.services.iter().zip(&decision.services) {
            let is_alone = bench.snapshot.devices.iter().any(|device| {
                use_of(&before, device.id).0 + use_of(&bench.snapshot, device.id).0 == 0
                    && device.slots_max != Some(0)
                    && device.memory_bytes.is_none_or(|bytes| service.need.of_slots(1) <= bytes)
                    && device.memory_free_bytes.is_none()
            });
            let is_short = matches!(report.mismatch, Some(Mismatch::NoRoom { .. }));
            prop_assert!(!(is_alone && is_short), "an empty device and {:?}", report);
        }
    }

    #[test]
    fn with_constant_load_there_is_nothing_to_do_after_the_windows(
        policies in vec(policies(), 1..4),
        loads in vec((0_u64..12, 0_u64..12), 4),
        first_load in 0_u64..12,
    ) {
        let services = policies.into_iter().map(service).collect();
        let mut bench = Bench::new(services, vec![device(0), device(1)]);
        let count = bench.snapshot.services.len();
        for at in 0..500 {
            for (index, &(waiting, in_hand)) in loads.iter().enumerate().take(count) {
                match at {
                    0..20 => bench.load_of(index, first_load, first_load, at),
                    _ => bench.load_of(index, waiting, in_hand, at),
                }
                let service = bench.service(index);
                service.slots.retain(|slot| slot.state != SlotState::Draining);
            }
            bench.ready(at);
            let actions = bench.tick(at);
            // The longest window and the zero grace are over by then.
            prop_assert!(at < 300 || actions.is_empty(), "{actions:?} at {at}");
        }
    }
}
