# SPDX-License-Identifier: Apache-2.0
"""Figures of the balloon plan: how long one host's cycle takes."""
from measure import key_values

ROUNDS = 3


def bench_balloon(report, _scratch):
    runs = [key_values("bench_balloon", 1000) for _ in range(ROUNDS)]
    plan, steady, floor = (min(run[name] for run in runs) for name in ("plan_us", "steady_us", "floor_us"))
    report.line("balloon plan of 1,000 VMs, all in motion", plan, "us", floor=floor,
                aim=lambda value, _: value < 1000, aim_text="< 1 ms")
    report.line("balloon plan of 1,000 VMs, steady", steady, "us", floor=floor)
    many = min(key_values("bench_balloon", 10000)["plan_us"] for _ in range(ROUNDS))
    report.line("balloon plan of 10,000 VMs, time of 1,000", many / 10, "us", floor=plan)
