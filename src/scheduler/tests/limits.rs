//! Changed policies, fixed sizes, stopping, and what the devices allow.

use super::bench::{
    Bench, device, device_for, drain, prediction_policy, seconds, service, slot, start, stop,
    training_policy, undrain,
};
use crate::{
    domain::{ScalingPolicy, ServiceKind},
    scheduler::{Device, DeviceId, MemoryNeed, SlotState},
};

const GIB: u64 = 1 << 30;

#[test]
fn a_lowered_max_drains_what_is_above_it_even_with_a_line() {
    let mut bench = Bench::settled(training_policy(), 3, 0);
    bench.load(7, 3, 10);
    bench.service(0).policy.max = 3;
    assert_eq!(bench.tick(10), []);

    bench.service(0).policy.max = 1;
    assert_eq!(bench.tick(11), [drain(1002), drain(1001)]);
    assert_eq!(
        bench.tick_through(12..=500),
        [],
        "the marks stay, work goes on"
    );

    bench.service(0).policy.max = 2;
    assert_eq!(
        bench.tick(501),
        [undrain(1001)],
        "lifted up to max, at once"
    );
}

#[test]
fn a_lowered_max_does_not_wait_for_the_window() {
    let mut bench = Bench::settled(training_policy(), 4, 0);
    bench.service(0).policy.max = 2;
    assert_eq!(bench.tick(1), [stop(1000), stop(1001)]);
}

#[test]
fn draining_slots_count_against_max() {
    let mut only = service(training_policy());
    only.policy.max = 2;
    only.slots = vec![
        slot(1, SlotState::Busy, 1),
        slot(2, SlotState::Busy, 2),
        slot(3, SlotState::Busy, 3),
    ];
    only.in_hand = 3;
    only.waiting = 9;
    let mut bench = Bench::new(vec![only], vec![device(0)]);
    assert_eq!(bench.tick(10), [drain(3)]);
    // A slot fails; the draining one still takes a place.
    bench.service(0).slots.remove(0);
    assert_eq!(bench.tick(11), [undrain(3)]);
    assert_eq!(bench.tick(12), []);
}

#[test]
fn a_raised_min_grows_at_once() {
    let mut policy = training_policy();
    policy.scale_up_window = seconds(100);
    let mut bench = Bench::settled(policy, 1, 0);
    bench.service(0).policy.min = 3;
    assert_eq!(bench.tick(1), [start(0, 0); 2]);
}

#[test]
fn a_fixed_size_is_kept_for_ever_and_restored_after_a_failure() {
    let mut bench = Bench::settled(ScalingPolicy::fixed(3), 3, 0);
    assert_eq!(bench.tick_through(1..=5000), []);
    bench.load(100, 3, 5001);
    assert_eq!(bench.tick_through(5001..=6000), []);
    bench.service(0).slots.remove(1);
    assert_eq!(bench.tick(6001), [start(0, 0)]);
    assert_eq!(bench.tick_through(6002..=6100), []);
}

#[test]
fn a_fixed_size_needs_no_declared_instances() {
    let mut bench = Bench::new(vec![service(ScalingPolicy::fixed(2))], vec![device(0)]);
    assert_eq!(bench.tick(0), [start(0, 0); 2]);
}

#[test]
fn the_first_decision_makes_the_declared_instances_inside_the_policy() {
    for (instances, expected) in [(0, 1), (1, 1), (3, 3), (9, 5)] {
        let mut only = service(training_policy());
        only.instances = instances;
        let mut bench = Bench::new(vec![only], vec![device(0)]);
        assert_eq!(bench.tick(0).len(), expected, "instances {instances}");
    }
}

#[test]
fn a_queue_service_never_has_slots() {
    let mut only = service(training_policy());
    only.kind = ServiceKind::Queue;
    only.waiting = 50;
    only.quiet_since = None;
    let mut bench = Bench::new(vec![only], vec![device(0)]);
    assert_eq!(bench.tick_through(0..=10), []);
}

#[test]
fn a_stopping_service_finishes_its_work_and_starts_nothing() {
    let mut only = service(training_policy());
    only.stopping = true;
    only.waiting = 4;
    only.in_hand = 1;
    only.slots = vec![
        slot(1, SlotState::Idle, 1),
        slot(2, SlotState::Busy, 2),
        slot(3, SlotState::Starting, 3),
    ];
    let mut bench = Bench::new(vec![only], vec![device(0)]);
    assert_eq!(bench.tick(10), [stop(1), drain(2)]);
    assert_eq!(bench.tick(11), []);
    bench.ready(12);
    assert_eq!(bench.tick(12), [stop(3)]);
    assert_eq!(bench.states(0), [SlotState::Draining]);
}

#[test]
fn starts_wait_until_the_pause_after_a_failure_is_over() {
    let mut only = service(training_policy());
    only.starts_held_until = Some(seconds(30));
    let mut bench = Bench::new(vec![only], vec![device(0)]);
    assert_eq!(bench.tick_through(0..=40), [(30, start(0, 0))]);
}

#[test]
fn a_backlog_does_not_order_the_same_slot_twice() {
    let mut bench = Bench::settled(training_policy(), 1, 0);
    bench.load(2, 1, 10);
    assert_eq!(bench.tick(10).len(), 2);
    assert_eq!(bench.tick_through(10..=60), [], "two slots are starting");
}

#[test]
fn no_more_slots_than_the_device_allows() {
    let only = service(training_policy());
    let mut bench = Bench::new(vec![only], vec![device_for(0, 2)]);
    bench.load(9, 0, 0);
    assert_eq!(bench.tick(0), [start(0, 0)]);
    assert_eq!(bench.tick(1), [start(0, 0)]);
    assert_eq!(bench.tick_through(2..=100), []);
}

#[test]
fn without_a_device_nothing_starts() {
    let mut bench = Bench::new(vec![service(training_policy())], vec![]);
    bench.load(9, 0, 0);
    assert_eq!(bench.tick_through(0..=5), []);
}

#[test]
fn slots_spread_over_the_devices_with_most_room() {
    let devices = vec![device_for(0, 2), device_for(1, 4), device(2)];
    let mut bench = Bench::new(vec![service(ScalingPolicy::fixed(6))], devices);
    let actions = bench.tick(0);
    assert_eq!(actions, [start(0, 2); 6], "the third has no limit");

    let devices = vec![device_for(0, 2), device_for(1, 4)];
    let mut bench = Bench::new(vec![service(ScalingPolicy::fixed(6))], devices);
    let expected = [1, 1, 0, 1, 0, 1].map(|device| start(0, device));
    assert_eq!(bench.tick(0), expected);

    let mut bench = Bench::new(
        vec![service(ScalingPolicy::fixed(4))],
        vec![device(0), device(1)],
    );
    assert_eq!(bench.tick(0), [0, 1, 0, 1].map(|device| start(0, device)));
}

fn gpu(id: u32, memory: u64, free: Option<u64>) -> Device {
    Device {
        id: DeviceId(id),
        slots_max: None,
        memory_bytes: Some(memory),
        memory_free_bytes: free,
    }
}

#[test]
fn reservations_keep_slots_within_the_memory_of_the_device() {
    let mut train = service(ScalingPolicy::fixed(9));
    train.need = MemoryNeed {
        slot_bytes: 3 * GIB,
        shared_bytes: 4 * GIB,
    };
    // 4 shared and two times 3 fit 12; a third slot would need 13.
    let mut bench = Bench::new(vec![train.clone()], vec![gpu(0, 12 * GIB, None)]);
    assert_eq!(bench.tick(0).len(), 2);
    let mut bench = Bench::new(vec![train.clone()], vec![gpu(0, 13 * GIB, None)]);
    assert_eq!(bench.tick(0).len(), 3);
    let mut bench = Bench::new(vec![train], vec![gpu(0, 6 * GIB, None)]);
    assert_eq!(bench.tick_through(0..=9), []);
}

#[test]
fn a_start_waits_until_the_memory_is_really_free() {
    let mut train = service(ScalingPolicy::fixed(2));
    train.need.slot_bytes = 5 * GIB;
    let mut bench = Bench::new(vec![train], vec![gpu(0, 12 * GIB, Some(4 * GIB))]);
    assert_eq!(
        bench.tick(0),
        [],
        "memory of a slot that has gone is not back"
    );
    bench.snapshot.devices[0].memory_free_bytes = Some(9 * GIB);
    assert_eq!(bench.tick(1), [start(0, 0)]);
    assert_eq!(bench.tick(2), [], "the starting slot will take its part");
    bench.ready(3);
    bench.snapshot.devices[0].memory_free_bytes = Some(5 * GIB);
    assert_eq!(bench.tick(3), [start(0, 0)]);
    bench.ready(4);
    bench.snapshot.devices[0].memory_free_bytes = Some(0);
    assert_eq!(bench.tick(4), [], "low memory stops no slot");
}

#[test]
fn a_device_above_its_lowered_limit_gets_nothing_new() {
    let services = vec![
        service(ScalingPolicy::fixed(2)),
        service(prediction_policy()),
    ];
    let mut bench = Bench::new(services, vec![device_for(0, 4)]);
    assert_eq!(bench.tick(0).len(), 3);
    bench.ready(1);
    bench.load_of(1, 0, 1, 1);
    bench.snapshot.devices[0].slots_max = Some(2);
    bench.load_of(1, 8, 1, 2);
    assert_eq!(bench.tick_through(2..=50), []);
}
