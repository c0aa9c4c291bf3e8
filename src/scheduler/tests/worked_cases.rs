//! The worked cases of the service specification, row by row.

use super::bench::{
    Bench, device, drain, prediction_policy, seconds, service, slot, start, stop, strategy,
    training_policy, undrain,
};
use crate::{
    domain::{Metric, ScalingPolicy},
    scheduler::{SlotId, SlotState},
};

/// The training service with five entries in work, settled long ago; now is second 1000.
fn training_at_full_size() -> Bench {
    let mut bench = Bench::settled(training_policy(), 1, 0);
    bench.load(0, 1, 900);
    assert_eq!(bench.tick(900), []);
    bench.load(4, 1, 1000);
    assert_eq!(bench.tick(1000), [start(0, 0); 4]);
    bench.ready(1000);
    bench.load(0, 5, 1000);
    assert_eq!(bench.tick(1000), []);
    bench
}

#[test]
fn training_grows_at_once_with_the_backlog() {
    let rows = [
        // W, F, C before, want, C after
        (0, 0, 1, 1, 1),
        (0, 1, 1, 1, 1),
        (4, 1, 1, 5, 5),
        (8, 5, 5, 5, 5),
    ];
    let mut bench = Bench::settled(training_policy(), 1, 0);
    for (waiting, in_hand, before, want, after) in rows {
        bench.ready(500);
        bench.load(waiting, in_hand, 500);
        assert_eq!(bench.active(0), before, "C before W={waiting} F={in_hand}");
        let report = bench.report(500);
        assert_eq!(report.want, want, "want at W={waiting} F={in_hand}");
        assert_eq!(bench.active(0), after, "C after W={waiting} F={in_hand}");
    }
}

#[test]
fn training_shrinks_after_a_minute_without_a_higher_want() {
    let mut bench = training_at_full_size();
    bench.load(0, 2, 2000);
    assert_eq!(bench.report(2000).want, 2);
    let idle: Vec<SlotId> = (bench.snapshot.services[0].slots.iter())
        .filter(|slot| slot.state == SlotState::Idle)
        .map(|slot| slot.id)
        .collect();
    assert_eq!(idle.len(), 3);

    let actions = bench.tick_through(2001..=2100);
    let expected: Vec<_> = idle.iter().map(|id| (2060, stop(id.0))).collect();
    assert_eq!(actions, expected);
    assert_eq!(bench.states(0), [SlotState::Busy; 2]);
}

#[test]
fn training_shrinks_only_to_the_highest_want_of_the_window() {
    let mut bench = training_at_full_size();
    bench.load(0, 2, 2000);
    assert_eq!(bench.tick_through(2000..=2058), []);
    bench.load(0, 3, 2059);
    assert_eq!(bench.report(2059).want, 3);
    assert_eq!(bench.tick(2060).len(), 2);
    assert_eq!(bench.states(0), [SlotState::Busy; 3]);
}

#[test]
fn prediction_follows_the_line_and_drains_only_without_one() {
    let mut bench = Bench::settled(prediction_policy(), 1, 0);
    bench.load(0, 1, 100);
    assert_eq!(bench.tick(100), []);
    bench.load(2, 1, 101);
    assert_eq!(bench.tick(101), [], "exactly the threshold");
    bench.load(5, 1, 102);
    assert_eq!(bench.report(102).want, 3);
    assert_eq!(bench.active(0), 3);

    bench.ready(103);
    bench.load(3, 3, 103);
    assert_eq!(bench.report(103).want, 2);
    assert_eq!(bench.active(0), 3);

    bench.load(0, 3, 103);
    assert_eq!(bench.report(103).want, 1);
    assert_eq!(bench.active(0), 3, "the window is not over");
    let drained = bench.tick(104);
    assert_eq!(drained, [drain(1002), drain(1001)], "began last, first");
    assert_eq!(bench.active(0), 1);

    bench.load(2, 3, 105);
    let report = bench.report(105);
    assert_eq!(report.want, 1);
    assert_eq!(bench.states(0), [SlotState::Busy; 3], "all marks lifted");
}

#[test]
fn nothing_shrinks_while_entries_wait() {
    let mut bench = Bench::settled(prediction_policy(), 1, 0);
    bench.load(6, 0, 1);
    assert_eq!(bench.tick(1), [start(0, 0); 2]);
    bench.ready(2);
    bench.load(1, 2, 2);
    assert_eq!(bench.report(2).want, 1);
    assert_eq!(bench.tick_through(3..=900), []);
    bench.load(0, 2, 901);
    let idle = bench.snapshot.services[0].slots[2].id;
    assert_eq!(bench.tick(901), [stop(idle.0), drain(1001)]);
}

#[test]
fn drained_slots_finish_and_one_stays() {
    let mut bench = Bench::settled(prediction_policy(), 3, 0);
    bench.load(0, 3, 50);
    assert_eq!(bench.tick(50), [drain(1002), drain(1001)]);
    assert_eq!(bench.tick_through(51..=200), [], "nothing is interrupted");
    bench
        .service(0)
        .slots
        .retain(|slot| slot.state == SlotState::Busy);
    bench.load(0, 0, 201);
    assert_eq!(bench.tick_through(201..=2000), []);
    assert_eq!(bench.active(0), 1);
}

/// Slots after one tick with this metric at this total load.
fn size_after(metric: Metric, threshold: f64, before: u32, total: u64) -> u32 {
    let policy = ScalingPolicy {
        min: 0,
        max: 1000,
        strategies: vec![strategy(metric, threshold)],
        scale_up_window: seconds(0),
        scale_down_window: seconds(0),
        zero_grace: seconds(600),
        activation_replicas: 1,
    };
    let mut bench = Bench::settled(policy, before, 0);
    match metric {
        Metric::Backlog => bench.load(0, total, 10),
        Metric::Waiting => bench.load(total, 0, 10),
        Metric::PutRate => bench.service(0).puts_per_second = total as f64,
    }
    bench.tick(10);
    bench.active(0)
}

#[test]
fn nothing_changes_within_a_tenth_of_the_threshold() {
    for (threshold, before, total, after) in [
        (10.0, 1, 11, 1),
        (10.0, 1, 12, 2),
        (10.0, 10, 110, 10),
        (10.0, 10, 111, 12),
        (10.0, 10, 90, 10),
        (10.0, 10, 89, 9),
        (1.0, 7, 7, 7),
        // A third of three is one, in spite of rounding.
        (1.0 / 3.0, 1, 1, 3),
        (0.1, 1, 3, 30),
    ] {
        let got = size_after(Metric::Backlog, threshold, before, total);
        assert_eq!(
            got, after,
            "threshold {threshold}, C {before}, total {total}"
        );
    }
}

#[test]
fn the_published_example_holds() {
    // Two slots, threshold 10: an average of 23 asks for 5; then an average of 2 for 1.
    assert_eq!(size_after(Metric::Backlog, 10.0, 2, 46), 5);
    assert_eq!(size_after(Metric::Backlog, 10.0, 5, 10), 1);
    assert_eq!(size_after(Metric::PutRate, 10.0, 2, 46), 5);
}

#[test]
fn the_largest_target_of_several_metrics_counts() {
    let mut policy = training_policy();
    policy.strategies = vec![
        strategy(Metric::Waiting, 2.0),
        strategy(Metric::Backlog, 4.0),
        strategy(Metric::PutRate, 5.0),
    ];
    let mut bench = Bench::settled(policy, 1, 0);
    bench.load(6, 1, 100);
    assert_eq!(bench.report(100).want, 3, "waiting");
    bench.service(0).puts_per_second = 19.5;
    assert_eq!(bench.report(101).want, 4, "puts");
    bench.load(0, 20, 102);
    assert_eq!(bench.report(102).want, 5, "backlog");
}

fn from_zero() -> ScalingPolicy {
    ScalingPolicy {
        min: 0,
        scale_down_window: seconds(300),
        zero_grace: seconds(60),
        ..training_policy()
    }
}

#[test]
fn the_last_slot_goes_after_the_zero_grace_and_comes_back_at_once() {
    let mut bench = Bench::settled(from_zero(), 1, 0);
    bench.load(0, 1, 900);
    assert_eq!(bench.tick(900), []);
    bench.load(0, 0, 1000);
    let actions = bench.tick_through(1000..=1069);
    assert_eq!(
        actions,
        [(1060, stop(1000))],
        "not held by the window of 300 s"
    );
    bench.load(1, 0, 1070);
    assert_eq!(bench.tick(1070), [start(0, 0)]);
}

#[test]
fn a_request_within_the_grace_starts_it_anew() {
    let mut bench = Bench::settled(from_zero(), 1, 0);
    bench.load(0, 1, 30);
    assert_eq!(bench.tick(30), []);
    bench.load(0, 0, 31);
    assert_eq!(bench.tick_through(31..=90), []);
    assert_eq!(bench.tick(91), [stop(1000)]);
}

#[test]
fn several_slots_shrink_to_one_by_the_window_before_the_last_goes() {
    let mut bench = Bench::settled(from_zero(), 3, 0);
    bench.load(0, 3, 900);
    assert_eq!(bench.tick(900), []);
    bench.load(0, 0, 1000);
    let actions = bench.tick_through(1000..=1400);
    let at: Vec<u64> = actions.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [1300, 1300, 1301]);
}

#[test]
fn leaving_zero_ignores_the_scale_up_window_and_makes_the_activation_replicas() {
    let policy = ScalingPolicy {
        scale_up_window: seconds(30),
        activation_replicas: 2,
        ..from_zero()
    };
    let mut bench = Bench::settled(policy, 0, 0);
    assert_eq!(bench.tick_through(1..=700), [], "no load, no slot");
    bench.load(5, 0, 701);
    assert_eq!(bench.tick(701), [start(0, 0); 2]);
    bench.ready(702);
    bench.load(3, 2, 702);
    let actions = bench.tick_through(702..=740);
    assert_eq!(actions, [(732, start(0, 0)); 3], "then the window counts");
}

#[test]
fn an_entry_in_work_keeps_the_last_slot_though_none_waits() {
    let policy = ScalingPolicy {
        min: 0,
        ..prediction_policy()
    };
    let mut bench = Bench::settled(policy, 1, 0);
    bench.load(0, 1, 1);
    assert_eq!(bench.tick_through(1..=4000), []);
    assert_eq!(bench.states(0), [SlotState::Busy]);
}

#[test]
fn growth_waits_for_the_whole_window_and_a_dip_cancels_it() {
    let policy = ScalingPolicy {
        scale_up_window: seconds(10),
        ..training_policy()
    };
    let mut bench = Bench::settled(policy, 1, 0);
    bench.load(3, 1, 100);
    assert_eq!(bench.tick_through(100..=108), []);
    bench.load(0, 1, 109);
    assert_eq!(bench.tick(109), []);
    bench.load(3, 1, 110);
    assert_eq!(bench.tick_through(110..=119), []);
    assert_eq!(bench.tick(120), [start(0, 0); 3]);
}

#[test]
fn shrinking_waits_one_window_from_the_start_of_the_service() {
    let mut bench = Bench::settled(training_policy(), 4, 500);
    assert_eq!(bench.report(501).down_limit, None);
    let actions = bench.tick_through(502..=600);
    let at: Vec<u64> = actions.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [560; 3]);
}

#[test]
fn the_longest_idle_goes_first_then_the_busy_one_that_began_last() {
    for (min, expected) in [
        (4, vec![stop(4)]),
        (3, vec![stop(4), stop(2)]),
        (2, vec![stop(4), stop(2), drain(3)]),
        (1, vec![stop(4), stop(2), drain(3), drain(5)]),
    ] {
        let mut only = service(ScalingPolicy {
            min,
            ..prediction_policy()
        });
        only.slots = vec![
            slot(1, SlotState::Busy, 10),
            slot(2, SlotState::Idle, 30),
            slot(3, SlotState::Busy, 40),
            slot(4, SlotState::Idle, 20),
            slot(5, SlotState::Busy, 35),
        ];
        only.in_hand = 3;
        let mut bench = Bench::new(vec![only], vec![device(0)]);
        assert_eq!(bench.tick(100), expected, "min {min}");
    }
}

#[test]
fn a_slot_that_starts_goes_once_idle_in_place_of_a_busy_one() {
    let mut only = service(prediction_policy());
    only.slots = vec![
        slot(1, SlotState::Busy, 10),
        slot(2, SlotState::Starting, 90),
    ];
    only.in_hand = 1;
    let mut bench = Bench::new(vec![only], vec![device(0)]);
    assert_eq!(bench.tick(100), []);
    bench.ready(101);
    assert_eq!(bench.tick(101), [stop(2)]);
}

#[test]
fn draining_slots_return_before_new_ones_are_made() {
    let mut only = service(training_policy());
    only.slots = vec![
        slot(1, SlotState::Busy, 10),
        slot(2, SlotState::Draining, 30),
        slot(3, SlotState::Draining, 20),
    ];
    only.in_hand = 2;
    let mut bench = Bench::new(vec![only], vec![device(0)]);
    assert_eq!(bench.tick(100), [undrain(3)], "the one that began first");
    bench.service(0).in_hand = 5;
    assert_eq!(bench.tick(101), [undrain(2), start(0, 0), start(0, 0)]);
}
