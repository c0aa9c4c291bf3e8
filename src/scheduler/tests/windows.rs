//! The history against a plain list of all recommendations.

use std::time::Duration;

use proptest::prelude::*;

use super::repeatable;
use crate::scheduler::History;

/// Every tick, and the extremes by going through all of them.
struct Log(Vec<(u64, u32)>);

impl Log {
    fn within(&self, window: u64, now: u64) -> impl Iterator<Item = u32> {
        let ends = self.0.iter().skip(1).map(|(at, _)| Some(*at)).chain([None]);
        self.0
            .iter()
            .zip(ends)
            .filter(move |(_, end)| end.is_none_or(|end| end + window > now))
            .map(|((_, want), _)| *want)
    }
}

proptest! {
    #![proptest_config(repeatable(1000))]

    #[test]
    fn the_staircase_knows_the_extremes_of_every_window(
        start in 0_u64..50,
        ticks in prop::collection::vec((0_u64..20, 0_u32..8), 1..60),
        windows in prop::collection::vec(0_u64..400, 1..8),
    ) {
        let mut history = History::starting_at(Duration::from_secs(start));
        let mut log = Log(Vec::new());
        let mut now = start;
        for (pause, want) in ticks {
            now += pause;
            history.record(Duration::from_secs(now), want);
            log.0.push((now, want));
            for &window in &windows {
                let length = Duration::from_secs(window);
                let at = Duration::from_secs(now);
                prop_assert_eq!(Some(history.lowest(length, at)), log.within(window, now).min());
                let highest = log.within(window, now).max().filter(|_| start + window <= now);
                prop_assert_eq!(history.highest(length, at), highest);
            }
        }
    }
}

#[test]
fn a_million_ticks_keep_no_more_steps_than_there_are_sizes() {
    let mut history = History::starting_at(Duration::ZERO);
    for tick in 0..1_000_000_u64 {
        let want = tick.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
        history.record(Duration::from_micros(tick), want as u32 % 101);
        assert!(history.len() <= 101, "{} steps", history.len());
    }
}

#[test]
fn windows_of_any_length_do_not_overflow() {
    let mut history = History::starting_at(Duration::from_secs(1));
    history.record(Duration::from_secs(1), 3);
    history.record(Duration::from_secs(2), 2);
    assert_eq!(history.highest(Duration::MAX, Duration::from_secs(9)), None);
    assert_eq!(history.lowest(Duration::MAX, Duration::from_secs(9)), 2);
}
