//! Several services on devices that are too small for all of them.

use super::bench::{
    Bench, device_for, drain, prediction_policy, seconds, service, slot, start, stop,
    training_policy,
};
use crate::{
    domain::ScalingPolicy,
    scheduler::{Device, ServiceSnapshot, SlotState, TURN},
};

const GIB: u64 = 1 << 30;

/// Two services with at least one slot each, and a device for one slot that the first has.
fn one_place() -> Bench {
    let services = vec![service(training_policy()), service(prediction_policy())];
    let mut bench = Bench::new(services, vec![device_for(0, 1)]);
    assert_eq!(bench.tick(0), [start(0, 0)]);
    bench.ready(1);
    bench
}

#[test]
fn an_idle_slot_makes_way_for_a_service_with_work_and_no_slot() {
    let mut bench = one_place();
    assert_eq!(bench.tick_through(1..=100), [], "nobody has work");
    bench.load_of(1, 1, 0, 101);
    assert_eq!(bench.tick(101), [stop(1000)]);
    assert_eq!(bench.tick(102), [start(1, 0)], "not back to the first");
    bench.ready(103);
    bench.load_of(1, 0, 1, 103);
    assert_eq!(bench.tick(103), []);
    bench.load_of(1, 0, 0, 110);
    assert_eq!(
        bench.tick_through(110..=900),
        [],
        "no flapping for min's sake"
    );
}

#[test]
fn the_room_made_is_not_taken_by_a_service_without_need() {
    let mut bench = one_place();
    bench.snapshot.devices[0].memory_bytes = Some(8 * GIB);
    bench.snapshot.devices[0].memory_free_bytes = Some(2 * GIB);
    bench.service(0).need.slot_bytes = GIB;
    bench.service(1).need.slot_bytes = 8 * GIB;
    bench.load_of(1, 1, 0, 50);
    assert_eq!(bench.tick(50), [stop(1000)]);
    assert_eq!(bench.tick_through(51..=55), [], "memory is not back yet");
    bench.snapshot.devices[0].memory_free_bytes = Some(8 * GIB);
    assert_eq!(bench.tick(56), [start(1, 0)]);
}

#[test]
fn a_busy_slot_makes_way_after_a_turn_and_finishes_first() {
    let mut bench = one_place();
    bench.load_of(0, 50, 1, 10);
    assert_eq!(bench.tick(10), []);
    bench.load_of(1, 1, 0, 20);
    let turn = 20 + TURN.as_secs();
    let actions = bench.tick_through(20..=turn + 50);
    assert_eq!(
        actions,
        [(turn, drain(1000))],
        "marked once, and it stays marked"
    );

    bench.service(0).slots.clear();
    bench.load_of(0, 50, 0, turn + 51);
    assert_eq!(bench.tick(turn + 51), [start(1, 0)], "starved for longer");
}

#[test]
fn a_mark_is_lifted_when_the_starved_service_has_no_more_work() {
    let mut bench = one_place();
    bench.load_of(0, 50, 1, 10);
    bench.load_of(1, 1, 0, 10);
    assert_eq!(bench.tick_through(10..=100).len(), 1);
    bench.load_of(1, 0, 0, 101);
    assert_eq!(bench.tick(101).len(), 1);
    assert_eq!(bench.states(0), [SlotState::Busy]);
}

#[test]
fn an_idle_slot_that_is_about_to_take_an_entry_stays() {
    let mut bench = one_place();
    bench.load_of(0, 1, 0, 10);
    bench.load_of(1, 1, 0, 10);
    assert_eq!(bench.tick_through(10..=200), []);
}

#[test]
fn only_as_many_slots_make_way_as_needed_and_idle_ones_rather_than_busy() {
    let mut donor = service(ScalingPolicy::fixed(4));
    donor.slots = vec![
        slot(1, SlotState::Busy, 1),
        slot(2, SlotState::Idle, 9),
        slot(3, SlotState::Idle, 4),
        slot(4, SlotState::Idle, 5),
    ];
    donor.in_hand = 1;
    donor.need.slot_bytes = GIB;
    let mut starved = service(prediction_policy());
    starved.waiting = 1;
    starved.need.slot_bytes = 2 * GIB;
    let gpu = Device {
        memory_bytes: Some(4 * GIB),
        ..device_for(0, 4)
    };
    let mut bench = Bench::new(vec![donor, starved], vec![gpu]);
    assert_eq!(bench.tick(10), [stop(3), stop(4)]);
    assert_eq!(bench.tick(11), [start(1, 0)]);
}

#[test]
fn a_small_slot_stays_when_a_large_one_has_to_go_anyway() {
    let mut small = service(ScalingPolicy::fixed(1));
    small.need.slot_bytes = GIB;
    small.slots = vec![slot(1, SlotState::Idle, 1)];
    let mut large = service(ScalingPolicy::fixed(1));
    large.need.slot_bytes = 7 * GIB;
    large.slots = vec![slot(2, SlotState::Idle, 2)];
    let mut starved = service(prediction_policy());
    starved.waiting = 1;
    starved.need.slot_bytes = 6 * GIB;
    let gpu = Device {
        memory_bytes: Some(8 * GIB),
        ..device_for(0, 9)
    };
    let mut bench = Bench::new(vec![small, large, starved], vec![gpu]);
    assert_eq!(bench.tick(10), [stop(2)]);
}

#[test]
fn the_device_that_is_cleared_soonest_is_chosen() {
    let mut donor = service(ScalingPolicy::fixed(2));
    donor.in_hand = 1;
    donor.slots = vec![slot(1, SlotState::Draining, 1), slot(2, SlotState::Idle, 1)];
    donor.slots[1].device = device_for(1, 1).id;
    let mut starved = service(prediction_policy());
    starved.waiting = 1;
    let mut bench = Bench::new(
        vec![donor, starved],
        vec![device_for(0, 1), device_for(1, 1)],
    );
    assert!(bench.tick(10).contains(&stop(2)));
}

fn with_work(policy: ScalingPolicy) -> ServiceSnapshot {
    let mut service = service(policy);
    service.waiting = 100;
    service.quiet_since = None;
    service
}

#[test]
fn services_without_a_slot_come_first_then_the_smallest() {
    let mut large = with_work(training_policy());
    large.slots = vec![slot(1, SlotState::Busy, 0), slot(2, SlotState::Busy, 0)];
    let mut medium = with_work(training_policy());
    medium.slots = vec![slot(3, SlotState::Busy, 0)];
    let services = vec![large, medium, with_work(training_policy())];
    let mut bench = Bench::new(services, vec![device_for(0, 8)]);
    let started = |actions: Vec<_>| {
        let mut counts = [0; 3];
        for action in actions {
            let which = (0..3).find(|&index| action == start(index, 0));
            counts[which.expect("only starts")] += 1;
        }
        counts
    };
    // Leaving zero makes one slot; the others fill up to three, then in their order.
    assert_eq!(started(bench.tick(0)), [2, 2, 1]);
    let sizes = [0, 1, 2].map(|index| bench.active(index));
    assert_eq!(sizes, [4, 3, 1]);
}

#[test]
fn many_services_take_turns_on_one_place() {
    let services = (0..4).map(|_| with_work(training_policy())).collect();
    let mut bench = Bench::new(services, vec![device_for(0, 1)]);
    let mut turns = Vec::new();
    for at in 0..2000 {
        for (index, service) in bench.snapshot.services.iter_mut().enumerate() {
            let Some(slot) = service.slots.first_mut() else {
                continue;
            };
            // Every entry takes 10 s, every start 5 s; then the next entry, unless it drains.
            let age = seconds(at).saturating_sub(slot.since);
            match slot.state {
                SlotState::Starting if age >= seconds(5) => {
                    turns.push(index);
                    slot.state = SlotState::Busy;
                    slot.since = seconds(at);
                }
                SlotState::Busy if age >= seconds(10) => slot.since = seconds(at),
                SlotState::Draining if age >= seconds(10) => service.slots.clear(),
                _ => {}
            }
        }
        bench.tick(at);
    }
    assert!(turns.len() > 20, "{turns:?}");
    for (turn, index) in turns.iter().enumerate() {
        assert_eq!(*index, turn % 4, "{turns:?}");
    }
}

#[test]
fn a_slot_that_makes_way_still_counts_against_max() {
    let mut donor = with_work(training_policy());
    donor.policy.max = 1;
    donor.in_hand = 1;
    donor.slots = vec![slot(1, SlotState::Draining, 0)];
    donor.need.slot_bytes = GIB;
    let mut starved = with_work(training_policy());
    starved.need.slot_bytes = 4 * GIB;
    let large = Device {
        memory_bytes: Some(4 * GIB),
        ..device_for(0, 9)
    };
    let small = Device {
        memory_bytes: Some(GIB),
        ..device_for(1, 9)
    };
    let mut bench = Bench::new(vec![donor, starved], vec![large, small]);
    assert_eq!(
        bench.tick(10),
        [],
        "one of one, though the small device is empty"
    );
    bench.service(0).policy.max = 2;
    assert_eq!(bench.tick(11), [start(0, 1)]);
}
