# SPDX-License-Identifier: Apache-2.0
"""Waiting for things to become true, with a deadline and a message that says what did not."""
import time


def wait_until(predicate, deadline_seconds, what, interval_seconds=0.05):
    """Calls predicate() until it is true and returns its value; AssertionError after the deadline.

    An exception of the predicate counts as "not yet" and is named when time is up.
    """
    end = time.monotonic() + deadline_seconds
    while True:
        last = None
        try:
            value = predicate()
            if value:
                return value
        except Exception as error:  # pylint: disable=broad-except
            last = error
        if time.monotonic() >= end:
            detail = f" (last error: {last})" if last else ""
            raise AssertionError(f"not within {deadline_seconds} s: {what}{detail}") from last
        time.sleep(interval_seconds)
