"""Waiting for a condition that nothing signals."""

import time


def until(condition, seconds=20.0):
    """Calls `condition` until it returns something true and returns that; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not true within {seconds} s: {condition}"
        time.sleep(0.02)
