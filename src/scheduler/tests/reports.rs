//! What a decision says about itself.

use super::bench::{Bench, device, device_for, seconds, service, slot, training_policy};
use crate::scheduler::{Device, MaxReason, Mismatch, SlotState};

#[test]
fn a_max_that_the_devices_cut_is_reported_with_its_reason() {
    for (devices, max, reason) in [
        (vec![device_for(0, 1)], 1, Some("device allows 1 slot")),
        (vec![device_for(0, 3)], 3, Some("device allows 3 slots")),
        (
            vec![device_for(0, 1), device_for(1, 1)],
            2,
            Some("devices allow 2 slots"),
        ),
        (vec![], 0, Some("there is no device")),
        (vec![device_for(0, 5)], 5, None),
        (vec![device(0)], 5, None),
    ] {
        let mut bench = Bench::new(vec![service(training_policy())], devices);
        bench.load(20, 0, 0);
        let report = bench.report(0);
        assert_eq!(report.max, max);
        assert_eq!(
            report
                .max_reason
                .map(|reason| reason.to_string())
                .as_deref(),
            reason
        );
        assert!(report.want <= max, "want {} of {max}", report.want);
    }
}

#[test]
fn slots_above_a_lowered_max_are_reported() {
    let mut bench = Bench::settled(training_policy(), 3, 0);
    bench.load(0, 3, 1);
    bench.service(0).policy.max = 2;
    let mismatch = bench.report(1).mismatch.expect("three of two");
    assert_eq!(mismatch.to_string(), "3 of 2, 1 draining");
    let mismatch = bench.report(2).mismatch.expect("still three of two");
    assert_eq!(mismatch.to_string(), "3 of 2, 1 draining");
}

#[test]
fn missing_slots_are_reported_with_what_holds_them() {
    let mut bench = Bench::new(
        vec![service(training_policy()), service(training_policy())],
        vec![device_for(0, 1)],
    );
    let reports = bench.decide(seconds(0)).services;
    assert_eq!(reports[0].mismatch, None);
    let missing = reports[1].mismatch.expect("the second has no room");
    assert_eq!(missing, Mismatch::NoRoom { missing: 1 });
    assert_eq!(missing.to_string(), "no room on any device for 1 slot");

    let mut only = service(training_policy());
    only.policy.min = 2;
    only.starts_held_until = Some(seconds(9));
    let mut bench = Bench::new(vec![only], vec![device(0)]);
    let held = bench.report(0).mismatch.expect("starts are held");
    assert_eq!(
        held.to_string(),
        "2 slots held back for a while because a slot failed"
    );
}

#[test]
fn a_stopping_service_says_so() {
    let mut only = service(training_policy());
    only.stopping = true;
    only.slots = vec![slot(1, SlotState::Idle, 0)];
    let mut bench = Bench::new(vec![only], vec![Device { ..device(0) }]);
    let report = bench.report(5);
    assert_eq!(report.max_reason, Some(MaxReason::Stopping));
    assert_eq!((report.max, report.want, report.mismatch), (0, 0, None));
}

#[test]
fn limits_of_the_windows_are_reported() {
    let mut policy = training_policy();
    policy.scale_up_window = seconds(5);
    let mut bench = Bench::settled(policy, 1, 0);
    bench.load(2, 1, 100);
    let report = bench.report(100);
    assert_eq!((report.want, report.up_limit), (3, 1));
    let report = bench.report(105);
    assert_eq!((report.want, report.up_limit), (3, 3));
    bench.ready(106);
    bench.load(0, 1, 106);
    let report = bench.report(106);
    assert_eq!((report.want, report.down_limit), (1, Some(3)));
    let report = bench.report(166);
    assert_eq!((report.want, report.down_limit), (1, Some(1)));
}
