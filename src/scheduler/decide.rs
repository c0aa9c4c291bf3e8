//! The decision itself: how many slots each service should have, and which ones change.

use std::time::Duration;

use super::{
    decision::{Action, Decision, MaxReason, Mismatch, ServiceReport},
    metrics,
    placement::{self, Occupancy},
    sharing::{self, Shares},
    snapshot::{Device, ServiceSnapshot, Slot, SlotState, Snapshot},
};
use crate::domain::ServiceKind;

/// Decides what changes now. The same snapshot and time always give the same decision.
///
/// Its cost depends on the number of slots, services and devices, never on the number of entries or
/// past ticks, so it may be called for every put, take and commit.
pub fn decide(snapshot: &Snapshot, now: Duration) -> Decision {
    let mut occupancy = Occupancy::of(snapshot);
    let shares = sharing::settle(snapshot, occupancy.clone(), now);
    let mut plans: Vec<Plan> = snapshot
        .services
        .iter()
        .map(|service| resize(service, &snapshot.devices, &shares, now))
        .collect();
    place_starts(snapshot, &mut occupancy, &shares, &mut plans, now);

    let mut decision = Decision {
        actions: Vec::new(),
        services: Vec::with_capacity(plans.len()),
    };
    for (service, plan) in snapshot.services.iter().zip(plans) {
        decision.actions.extend(&plan.actions);
        decision.services.push(report(service, plan, now));
    }
    decision
}

/// What is to become of one service.
struct Plan {
    actions: Vec<Action>,
    /// Slots that will not be draining: with those just started, without those that leave.
    active: u32,
    /// Slots still to be started.
    missing: u32,
    report: ServiceReport,
}

/// Sizes one service by itself. Slots to be started are only counted here, not yet placed.
fn resize(service: &ServiceSnapshot, devices: &[Device], shares: &Shares, now: Duration) -> Plan {
    let (ceded, mut kept): (Vec<Slot>, Vec<Slot>) = service
        .slots
        .iter()
        .partition(|slot| shares.ceded.contains(&slot.id));
    kept.sort_by_key(|slot| (slot.since, slot.id));
    let (draining, settled): (Vec<Slot>, Vec<Slot>) = kept
        .into_iter()
        .partition(|slot| slot.state == SlotState::Draining);
    let (max, max_reason) = max_in_effect(service, devices);
    // With a line, an idle slot is about to take an entry; it makes way after that one.
    let mut actions: Vec<Action> = ceded
        .iter()
        .filter(|slot| slot.state != SlotState::Idle || service.waiting == 0)
        .filter_map(leave)
        .collect();

    // With a line, capacity that exists has work: every drain mark under `max` is lifted.
    let mut lifted = match service.waiting {
        0 => 0,
        _ => (max.saturating_sub(settled.len() as u32)).min(draining.len() as u32),
    };
    let mut active = settled.len() as u32 + lifted;

    let report = recommend(service, active, (max, max_reason), now);
    let target = target(service, active, &report);
    if target > active {
        lifted += (target - active).min(draining.len() as u32 - lifted);
        active = settled.len() as u32 + lifted;
    }
    actions.extend(
        draining
            .iter()
            .take(lifted as usize)
            .map(|slot| Action::Undrain { slot: slot.id }),
    );
    actions.extend(shrink(&settled, active.saturating_sub(target)));
    // Slots that still drain, and those just told to stop, count until they are gone.
    let free_places = max.saturating_sub(service.slots.len() as u32);
    Plan {
        actions,
        active: active.min(target),
        missing: target.saturating_sub(active).min(free_places),
        report,
    }
}

/// The policy's `max`, cut to what the devices hold; 0 for a service that is to have no slots.
fn max_in_effect(service: &ServiceSnapshot, devices: &[Device]) -> (u32, Option<MaxReason>) {
    if service.kind == ServiceKind::Queue {
        return (0, None);
    }
    if service.stopping {
        return (0, Some(MaxReason::Stopping));
    }
    let slots = placement::ceiling(devices, service.need);
    if slots >= service.policy.max {
        return (service.policy.max, None);
    }
    let reason = MaxReason::DevicesAllow {
        slots,
        devices: devices.len(),
    };
    (slots, Some(reason))
}

/// The recommendation of this moment and what the windows make of it.
fn recommend(
    service: &ServiceSnapshot,
    active: u32,
    (max, max_reason): (u32, Option<MaxReason>),
    now: Duration,
) -> ServiceReport {
    let policy = &service.policy;
    let mut want = metrics::target(service, active).clamp(policy.min.min(max), max);
    if want == 0 && active > 0 && metrics::holds_last_slot(service, now) {
        want = max.min(1);
    }

    let mut history = service.history.clone();
    history.record(now, want);
    history.record_starvation(now, service.is_starved(now));
    // Leaving zero is immediate, and the step to zero has the zero grace for a window.
    let up_limit = match active {
        0 if service.history.is_empty() => want.max(service.instances),
        0 => want,
        _ => history.lowest(policy.scale_up_window, now),
    };
    let down_limit = match active {
        1 => Some(want),
        _ => history.highest(policy.scale_down_window, now),
    };
    ServiceReport {
        want,
        up_limit,
        down_limit,
        max,
        max_reason,
        mismatch: None,
        history,
    }
}

/// The number of slots to have now. A changed `min` or `max` counts at once, without a window.
fn target(service: &ServiceSnapshot, active: u32, report: &ServiceReport) -> u32 {
    let shrunk = report.down_limit.map_or(active, |limit| limit.min(active));
    let target = if active < report.up_limit {
        report.up_limit
    } else if service.waiting > 0 {
        active
    } else {
        shrunk
    };
    target.clamp(service.policy.min.min(report.max), report.max)
}

/// Lets `surplus` of the slots go; they are sorted by the time of their state. Idle slots first,
/// the longest idle first; then slots that start, which go as soon as they are idle; then busy
/// ones, the one that began last first.
fn shrink(settled: &[Slot], surplus: u32) -> Vec<Action> {
    let in_state = |state| settled.iter().filter(move |slot| slot.state == state);
    let idle = in_state(SlotState::Idle);
    let starting = in_state(SlotState::Starting);
    let busy = in_state(SlotState::Busy).rev();
    idle.chain(starting)
        .chain(busy)
        .take(surplus as usize)
        .filter_map(leave)
        .collect()
}

/// How a slot leaves: never in the middle of its work.
fn leave(slot: &Slot) -> Option<Action> {
    match slot.state {
        SlotState::Idle => Some(Action::Stop { slot: slot.id }),
        SlotState::Busy => Some(Action::Drain { slot: slot.id }),
        SlotState::Starting | SlotState::Draining => None,
    }
}

/// Starts what is missing, one slot at a time, while there is room. What stays missing in the
/// plans has found none.
fn place_starts(
    snapshot: &Snapshot,
    occupancy: &mut Occupancy<'_>,
    shares: &Shares,
    plans: &mut [Plan],
    now: Duration,
) {
    let mut in_line: Vec<usize> = (0..plans.len())
        .filter(|&index| plans[index].missing > 0 && snapshot.services[index].may_start(now))
        .collect();
    while let Some(index) = most_deserving(snapshot, plans, &in_line, now) {
        let room = occupancy.roomiest(index, |device| shares.allow(index, device));
        let plan = &mut plans[index];
        if let Some(device) = room {
            occupancy.add(index, device);
            plan.actions.push(Action::Start {
                service: index,
                device,
            });
            plan.active += 1;
            plan.missing -= 1;
        }
        if room.is_none() || plan.missing == 0 {
            in_line.retain(|&other| other != index);
        }
    }
}

/// Who gets the next slot: a service with work and no slot, the one starved for longest first;
/// then the one with the fewest slots; among equals the first in the snapshot.
fn most_deserving(
    snapshot: &Snapshot,
    plans: &[Plan],
    in_line: &[usize],
    now: Duration,
) -> Option<usize> {
    in_line.iter().copied().min_by_key(|&index| {
        let service = &snapshot.services[index];
        let active = plans[index].active;
        let has_its_first = active > 0 || !service.is_starved(now);
        let starved_since = service.history.starved_since().unwrap_or(now);
        let since = if has_its_first { now } else { starved_since };
        (has_its_first, since, active, index)
    })
}

/// Completes the report with what could not be done.
fn report(service: &ServiceSnapshot, plan: Plan, now: Duration) -> ServiceReport {
    let Plan {
        actions,
        missing,
        mut report,
        ..
    } = plan;
    let stops = actions
        .iter()
        .filter(|action| matches!(action, Action::Stop { .. }))
        .count();
    let slots = (service.slots.len() - stops) as u32;
    let draining = service.slots.iter().filter(|slot| {
        let is_marked = actions.contains(&Action::Drain { slot: slot.id });
        let is_lifted = actions.contains(&Action::Undrain { slot: slot.id });
        is_marked || (slot.state == SlotState::Draining && !is_lifted)
    });
    report.mismatch = match service.starts_held_until {
        _ if slots > report.max => Some(Mismatch::AboveMax {
            slots,
            max: report.max,
            draining: draining.count() as u32,
        }),
        Some(until) if missing > 0 && until > now => Some(Mismatch::StartsHeld { missing, until }),
        _ if missing > 0 => Some(Mismatch::NoRoom { missing }),
        _ => None,
    };
    report
}
