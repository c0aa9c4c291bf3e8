#!/usr/bin/env bash
# Kills, stops and breaks the program many times under load, and checks after it that nothing
# accepted was lost or done twice. For nights and for changes to the queue; `cargo test` does the
# same a few times.
#
#   tests/kill_many.sh ROUNDS [TEST]
#
# ROUNDS is how often each random test strikes: about 90 ms each for the kill test. TEST narrows
# the tests by name, for example `kill` or `failing_sync`. PHOTOG_TEST_CRASH_SEED=N repeats the moments
# of a run; PHOTOG_TEST_CRASH_PROFILE=dev takes the dev profile instead of release.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ! ${1:-} =~ ^[1-9][0-9]*$ ]]; then
    printf 'usage: tests/kill_many.sh ROUNDS [TEST]; ROUNDS is a whole number from 1\n' >&2
    exit 2
fi

PHOTOG_TEST_CRASH_ROUNDS="$1" exec cargo test --profile "${PHOTOG_TEST_CRASH_PROFILE:-release}" \
    --test crash -- --nocapture "${@:2}"
