# SPDX-License-Identifier: Apache-2.0
"""What the demo prints: one line for each step, with its time."""
import time

BEGAN = time.monotonic()


def elapsed():
    """Seconds since the demo began."""
    return time.monotonic() - BEGAN


class Step:
    """with Step("the VM is created") as step: prints it with its time when it is done."""

    def __init__(self, text):
        self.text = text
        self.began = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            print(f"[{elapsed():6.1f} s] +{time.monotonic() - self.began:5.1f} s  {self.text}", flush=True)
