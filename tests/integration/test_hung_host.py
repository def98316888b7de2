# SPDX-License-Identifier: Apache-2.0
"""One host's libvirtd hangs: the other host and all reads do not notice."""
import os
import time

from conftest import FULL, add_host, daemon_for, small_vm
from lab import PrivateLibvirt, wait_until

HANG_SECONDS = 30 if FULL else 8
ROUNDS = 300


def p99(times):
    return sorted(times)[int(len(times) * 0.99) - 1]


def measure(fn, seconds, at_least):
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end or len(times) < at_least:
        started = time.monotonic()
        fn()
        times.append(time.monotonic() - started)
    return times


def test_a_hung_host_delays_nobody_else(scratch):
    with PrivateLibvirt(os.path.join(scratch, "v1"), name="v1") as one, \
            PrivateLibvirt(os.path.join(scratch, "v2"), name="v2") as two, \
            daemon_for([one], scratch) as daemon:
        api = daemon.local
        add_host(api, "h1", one.uri)
        add_host(api, "h2", two.uri)
        api.act("POST", "/vms", small_vm("a", host="h1"))
        api.act("POST", "/vms", small_vm("b", host="h2"))

        def read():
            api.get("/vms")
            api.get("/hosts")

        def work():
            api.act("PATCH", "/vms/a", {"cpu": {"shares": 100 + int(time.monotonic() * 1000) % 900}})

        reads_before, work_before = measure(read, 3, ROUNDS), measure(work, 2, 30)
        two.pause_libvirtd()
        try:
            started = time.monotonic()
            wait_until(lambda: api.get("/hosts/h2")["state"] == "slow", 25, "the host is flagged slow")
            flagged = time.monotonic() - started
            host = api.get("/hosts/h2")
            assert host["state_reason"] and host["state_since"]
            assert api.get("/vms/b")["power"] == "unknown" and api.get("/vms/b")["power_since"] == host["state_since"]
            refused = api.request("POST", "/vms/b/start")
            assert refused.status == 503 and refused.json["code"] == "host_slow", refused
            assert refused.headers["retry-after"] and "h2" in refused.json["detail"]
            waiting = api.ok("POST", "/vms/b/start?wait=2", timeout=60)
            # held as asked; then it still waits, or its time was up at the same moment
            assert waiting.json["state"] in ("running", "queued", "failed"), waiting
            assert "host h2" in str(waiting.json), waiting
            reads, works = measure(read, HANG_SECONDS - 6, ROUNDS), measure(work, 2, 30)
        finally:
            two.resume_libvirtd()
        wait_until(lambda: api.get("/hosts/h2")["state"] == "ok", 60, "the host is back")
        ended = api.operation(waiting.json["id"], wait=60)
        assert ended["state"] in ("succeeded", "failed"), ended
        wait_until(lambda: api.get("/vms/b")["power"] in ("stopped", "running"), 20, "its VMs are known again")
        read_ratio, work_ratio = p99(reads) / p99(reads_before), p99(works) / p99(work_before)
        print(f"flagged after {flagged:.1f} s; p99 during/before: reads {read_ratio:.2f}, work {work_ratio:.2f}")
        # the aim is 2; this machine is shared and noisy, and tests allow five times the aim
        assert read_ratio < 10 and work_ratio < 10
