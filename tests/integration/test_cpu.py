# SPDX-License-Identifier: Apache-2.0
"""CPU on real guests: shares and limits are what the guests get, and a limit goes away while they run."""
import os
import time

from conftest import guest_vm
from lab import GuestAgent, wait_until

TICKS = os.sysconf("SC_CLK_TCK")
WINDOW_S = 5
DEADLINE_S = 120


def cpu_seconds(pid):
    """What a QEMU has used, of all its threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def used_in_window(pids):
    """Seconds of CPU that each used between two looks, and the time between them."""
    before, began = [cpu_seconds(pid) for pid in pids], time.monotonic()
    wait_until(lambda: time.monotonic() - began >= WINDOW_S, 2 * WINDOW_S, "the window is over")
    used = [cpu_seconds(pid) - was for pid, was in zip(pids, before)]
    return used, time.monotonic() - began


def start_busy(api, virt, name, **cpu):
    """A guest whose only CPU never rests; returns its QEMU."""
    api.act("POST", "/vms", guest_vm(name, cpu={"count": 1, "model": "maximum", **cpu}))
    agent = GuestAgent(virt, name)
    agent.wait_ready()
    agent.start("ticks", 3600)
    return virt.qemu_pids()[name]


def test_shares_divide_a_contended_cpu(real, virt):
    api = real.local
    names = {"small": 1000, "large": 3000}
    pids = [start_busy(api, virt, name, shares=shares) for name, shares in names.items()]
    for name in names:
        virt.virsh("vcpupin", name, "0", "0")

    def ratio():
        (small, large), _ = used_in_window(pids)
        return large / max(small, 0.01)

    wait_until(lambda: 2.7 <= ratio() <= 3.3, DEADLINE_S, "CPU time is divided 1:3")
    api.act("PATCH", "/vms/small", {"cpu": {"shares": 3000}})
    assert api.get("/vms/small")["pending"] == {}
    wait_until(lambda: 0.9 <= ratio() <= 1.1, DEADLINE_S, "changed while they run, it is divided 1:1")


def test_a_limit_holds_and_goes_away(real, virt):
    api = real.local
    pid = start_busy(api, virt, "g", limit_percent=50)

    def fraction():
        (used,), seconds = used_in_window([pid])
        return used / seconds

    def is_half():
        got = fraction()
        assert got <= 0.525, f"{got:.3f} of a CPU was used with a limit of a half"
        return got >= 0.475  # a busy machine may give less for a while

    wait_until(is_half, DEADLINE_S, "the guest gets its half")
    api.act("PATCH", "/vms/g", {"cpu": {"limit_percent": 0}})
    wait_until(lambda: fraction() > 0.6, DEADLINE_S, "without the limit it gets more")
