# SPDX-License-Identifier: Apache-2.0
"""A host that stays critical: the ladder up to its last rung, suspending the one VM whose owner allowed it, and back down."""
import os
import re

import pytest

from berth import Berthd
from conftest import MIB, add_host, guest_vm, list_events, share_memory
from lab import GuestAgent, wait_until

GIB = 1024 * MIB


def make_critical(api, usable_bytes, guests):
    """Less than the floors of those that run: no balloon brings relief."""
    share_memory(api, usable_bytes, guests)
    wait_until(lambda: api.get("/hosts/h1/balloon")["state"] == "critical", 30, "the host is critical")


def rungs(api):
    return [event["data"]["rung"] for event in list_events(api, "balloon_ladder")]


def check_suspended_alone(api, name):
    """It was suspended by Berth, once, and nobody else was."""
    wait_until(lambda: api.get(f"/vms/{name}")["power"] == "suspended", 90, f"{name} is suspended")
    assert [event["name"] for event in list_events(api, "balloon_suspend")] == [name]
    suspensions = api.get('/operations?filter=kind%20eq%20"vm.suspend"')["items"]
    assert [(op["target"]["name"], op["requested_by"]) for op in suspensions] == [(name, "berth")], suspensions


def test_the_vm_that_allows_it_is_suspended_and_stays_so_until_its_owner_starts_it(scratch):
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        api = daemon.local
        add_host(api, "h1", f"fake:///{os.path.basename(scratch)}-h1?cpus=16&memory_mib=8192")
        share_memory(api, 7 * GIB, 3)
        for name, allowed in [("a", "stay"), ("b", "suspend"), ("c", "stay")]:
            api.act("POST", "/vms", {"name": name, "desired_power": "running",
                                     "memory": {"size_bytes": 2 * GIB, "min_bytes": GIB, "on_critical": allowed}})
        make_critical(api, 5 * GIB // 2, 3)
        check_suspended_alone(api, "b")
        assert rungs(api)[:4] == ["reclaim", "ksm", "throttle", "suspend"]
        assert api.get("/hosts/h1")["allocation"]["held_vms"] == 2
        refused = api.request("POST", "/vms/b/start")
        assert refused.status == 409 and refused.json["code"] == "insufficient_capacity" and refused.json["numbers"], refused
        share_memory(api, 7 * GIB, 3)
        wait_until(lambda: api.get("/hosts/h1/balloon")["state"] != "critical", 30, "the host is better")
        vm = api.get("/vms/b")
        assert (vm["power"], vm["desired_power"]) == ("suspended", "suspended")
        assert {api.get(f"/vms/{name}")["power"] for name in "ac"} == {"running"}
        api.act("POST", "/vms/b/start")
        assert api.get("/vms/b")["power"] == "running"


SIZE, FLOOR, HELD = 256 * MIB, 192 * MIB, 64


def start_guest(api, virt, name, allowed, **cpu):
    """A guest that holds memory of its own."""
    api.act("POST", "/vms", guest_vm(name, cpu={"model": "maximum", **cpu},
                                     memory={"size_bytes": SIZE, "min_bytes": FLOOR, "on_critical": allowed}))
    agent = GuestAgent(virt, name)
    agent.wait_ready()
    agent.run("memory-fill", HELD)
    return agent


def quota(virt, name):
    """Microseconds in 100,000 that each of its CPUs may run; -1: all."""
    return int(re.search(r"vcpu_quota\s*: (-?\d+)", virt.virsh("schedinfo", name)).group(1))


@pytest.mark.long
@pytest.mark.usefixtures("ksm")
def test_a_real_guest_is_throttled_and_suspended_and_goes_on_where_it_was(real, virt):
    api = real.local
    share_memory(api, 2 * SIZE, 2)
    agents = [start_guest(api, virt, "stays", "stay", reservation_percent=10), start_guest(api, virt, "gives", "suspend")]
    pid = virt.qemu_pids()["stays"]
    make_critical(api, 300 * MIB, 2)
    wait_until(lambda: quota(virt, "gives") == 20000, 60, "its CPU is throttled")
    check_suspended_alone(api, "gives")
    assert rungs(api)[:4] == ["reclaim", "ksm", "throttle", "suspend"]
    assert virt.qemu_pids() == {"stays": pid} and quota(virt, "stays") == -1
    share_memory(api, 2 * SIZE, 2)
    wait_until(lambda: rungs(api)[-1] == "none", 90, "the ladder was left")
    assert virt.qemu_pids() == {"stays": pid} and api.get("/vms/gives")["desired_power"] == "suspended"
    api.act("POST", "/vms/gives/start")
    wait_until(lambda: quota(virt, "gives") == -1, 30, "its CPU is its own again")
    for agent in agents:
        agent.wait_ready()
        assert int(agent.run("memory-info")["held_kib"]) == HELD * 1024
    wait_until(lambda: [(event["name"], event["data"]["throttled"]) for event in list_events(api, "balloon_throttle")] ==
               [("gives", True), ("gives", False)], 30, "both are told")
