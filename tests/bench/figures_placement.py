# SPDX-License-Identifier: Apache-2.0
"""Decisions: placement, admission and capacity in memory, as CPU time of one thread, beside a scan of the same sums."""
from measure import key_values

FLEETS = (
    ("hosts_100", "100 hosts x 50 VMs", None),
    ("hosts_1000", "1,000 hosts x 50 VMs", 500),
    ("full_1000", "1,000 hosts, most of them full", 500),
    ("rules_1000", "1,000 hosts, 12,500 VMs it is apart from", 500),
    ("loss_1000", "1,000 hosts, survive_host_loss", 500),
    ("tight_1000", "1,000 full hosts, survive_host_loss", 500),
    ("hosts_10000", "10,000 hosts x 50 VMs", 5000),
)


def bench_placement(report, _scratch):
    """Every decision ranks each host or says why it is refused."""
    figures = key_values("bench_placement")
    for key, text, limit_us in FLEETS:
        report.line(f"placement: {text}", figures[f"{key}_p50_us"], "us", floor=figures[f"{key}_floor_us"],
                    aim=limit_us and (lambda value, _, limit=limit_us: value < limit),
                    aim_text=f"< {limit_us / 1000:g} ms" if limit_us else "")
    report.line("admission on one host", figures["admission_us"], "us", digits=3,
                aim=lambda value, _: value < 50, aim_text="< 50 us of a mutation")
    report.line("capacity of 1,000 hosts", figures["capacity_ms"], "ms", digits=2)
    report.line("capacity of 1,000 hosts, survive_host_loss", figures["loss_capacity_ms"], "ms", digits=2)
    bench_room(report)


def bench_room(report):
    """What a mutation pays for being placed and for its room, of a fleet of 1,000 hosts with 50,000 VMs."""
    figures = key_values("bench_room")
    report.line("place, write and claim, durable, p50", figures["place_and_claim_p50_us"], "us",
                floor=figures["write_only_p50_us"], aim=lambda value, _: value < 1000, aim_text="< 1 ms")
    report.line("grant of a start within its mutation, p50", figures["grant_at_home_deciding_p50_us"], "us",
                aim=lambda value, _: value < 50, aim_text="< 50 us")
    report.line("first decision after a start: 50,000 VMs are read", figures["first_decision_ms"], "ms")
