# SPDX-License-Identifier: Apache-2.0
"""memory.max_bytes: a running guest grows beyond what it booted with, within what its host has room for."""
import os

import pytest

from berth import Berthd
from conftest import MIB, add_host, guest_vm
from lab import GuestAgent, wait_until

KIB = 1024
GIB = 1024 * MIB


def held_bytes(api):
    return api.get("/hosts/h1")["allocation"]["held_bytes"]


def memory_kib(agent, what="total"):
    return int(agent.run("memory-info")[f"{what}_kib"])


def test_a_real_guest_grows_while_it_runs_and_boots_with_it(real, virt):
    api = real.local
    api.act("POST", "/vms", guest_vm("g", memory={"size_bytes": 256 * MIB, "max_bytes": 512 * MIB}))
    agent = GuestAgent(virt, "g")
    agent.wait_ready()
    pid, held, total = virt.qemu_pids()["g"], held_bytes(api), memory_kib(agent)
    api.act("PATCH", "/vms/g", {"memory": {"size_bytes": 384 * MIB}})
    assert api.get("/vms/g")["pending"] == {}
    assert held_bytes(api) == held + 128 * MIB
    wait_until(lambda: memory_kib(agent) == total + 128 * KIB, 30, "the guest uses the new memory")
    assert virt.qemu_pids()["g"] == pid
    # What was plugged is the balloon's to take, as well.
    free = memory_kib(agent, "free")
    api.act("PATCH", "/vms/g", {"memory": {"size_bytes": 320 * MIB}})
    wait_until(lambda: memory_kib(agent, "free") <= free - 60 * KIB, 30, "the balloon took 64 MiB")
    api.act("PATCH", "/vms/g", {"memory": {"size_bytes": 384 * MIB}})
    assert api.get("/vms/g")["pending"] == {"/memory/size_bytes": 384 * MIB}
    api.act("POST", "/vms/g/stop")
    wait_until(lambda: held_bytes(api) == 0, 20, "a stopped guest holds nothing")
    api.act("POST", "/vms/g/start")
    assert api.get("/vms/g")["pending"] == {} and held_bytes(api) == held + 128 * MIB
    agent.wait_ready()
    assert total + 120 * KIB < memory_kib(agent) <= 384 * KIB
    assert "<memory model='dimm'" not in virt.virsh("dumpxml", "g")


@pytest.mark.long
def test_plugged_memory_outlives_a_checkpoint_and_a_suspension(real, virt):
    api = real.local
    api.act("POST", "/vms", guest_vm("g", memory={"size_bytes": 256 * MIB, "max_bytes": 512 * MIB},
                                     disks={"root": {"size_bytes": 16 * MIB}}))
    agent = GuestAgent(virt, "g")
    agent.wait_ready()
    total, held = memory_kib(agent), held_bytes(api)
    api.act("PATCH", "/vms/g", {"memory": {"size_bytes": 384 * MIB}})
    wait_until(lambda: memory_kib(agent) == total + 128 * KIB, 30, "the guest uses the new memory")
    api.act("POST", "/vms/g/snapshots", {"name": "s", "memory": True})
    api.act("POST", "/vms/g/snapshots/s/revert")
    agent.wait_ready()
    assert memory_kib(agent) == total + 128 * KIB and api.get("/vms/g")["pending"] == {}
    api.act("POST", "/vms/g/suspend")
    api.act("POST", "/vms/g/start")
    agent.wait_ready()
    assert held_bytes(api) == held + 128 * MIB
    api.act("PATCH", "/vms/g", {"memory": {"size_bytes": 512 * MIB}})
    wait_until(lambda: memory_kib(agent) == total + 256 * KIB, 30, "it grows again")
    assert api.get("/vms/g")["pending"] == {} and held_bytes(api) == held + 256 * MIB


def test_growing_waits_for_a_restart_or_is_refused_where_it_cannot_be(scratch):
    host = f"fake:///{os.path.basename(scratch)}-h1?cpus=4&memory_mib=2048"
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        api = daemon.local
        add_host(api, "h1", host)
        api.act("POST", "/vms", {"name": "g", "desired_power": "running",
                                 "memory": {"size_bytes": GIB // 2, "max_bytes": 3 * GIB // 2}})
        api.act("POST", "/vms", {"name": "other", "desired_power": "running", "memory": {"size_bytes": GIB // 2}})
        held = held_bytes(api)
        api.act("PATCH", "/vms/g", {"memory": {"size_bytes": GIB // 2 + 100 * MIB}})
        assert api.get("/vms/g")["pending"] == {"/memory/size_bytes": GIB // 2 + 100 * MIB}  # no whole step
        api.act("PATCH", "/vms/other", {"memory": {"size_bytes": GIB, "max_bytes": GIB}})
        assert api.get("/vms/other")["pending"] == {"/memory/size_bytes": GIB, "/memory/max_bytes": GIB}  # no slots
        assert held_bytes(api) == held
        answer = api.request("PATCH", "/vms/g", {"memory": {"size_bytes": 3 * GIB // 2}})
        assert answer.status == 409 and answer.json["code"] == "insufficient_capacity" and answer.json["numbers"], answer
        assert held_bytes(api) == held and api.get("/vms/g")["memory"]["size_bytes"] == GIB // 2 + 100 * MIB
        api.act("PATCH", "/vms/g", {"memory": {"size_bytes": GIB}})
        assert api.get("/vms/g")["pending"] == {} and held_bytes(api) == held + GIB // 2
        # Slots come with the next start.
        api.act("POST", "/vms/g/stop")
        api.act("POST", "/vms/other/stop")
        api.act("PATCH", "/vms/other", {"memory": {"size_bytes": GIB // 2}})
        api.act("POST", "/vms/other/start")
        api.act("PATCH", "/vms/other", {"memory": {"size_bytes": GIB}})
        assert api.get("/vms/other")["pending"] == {}


STEP, SLOTS = 128 * MIB, 16


def grow(api, steps):
    return api.act("PATCH", "/vms/g", {"memory": {"size_bytes": 256 * MIB + steps * STEP}})


def check_growth_ends_with_the_slots(api):
    """The next growth waits for a restart, says why, and holds nothing more meanwhile."""
    for steps in range(1, SLOTS + 1):
        assert grow(api, steps)["result"] is None and api.get("/vms/g")["pending"] == {}
    held = held_bytes(api)
    for steps in (SLOTS + 1, SLOTS + 2):
        why = grow(api, steps)["result"]["waits_for_restart"]["/memory/size_bytes"]
        assert f"{SLOTS} of its {SLOTS} slots" in why and str(256 * MIB + SLOTS * STEP) in why, why
        assert api.get("/vms/g")["pending"] == {"/memory/size_bytes": 256 * MIB + steps * STEP}
        assert held_bytes(api) == held
    for change in ({"description": "changed while it waits"}, {"cpu": {"shares": 2048}}):
        api.act("PATCH", "/vms/g", change)
        assert held_bytes(api) == held and api.get("/vms/g")["pending"] == {"/memory/size_bytes": 256 * MIB + steps * STEP}
    api.act("POST", "/vms/g/stop")
    api.act("POST", "/vms/g/start")
    assert api.get("/vms/g")["pending"] == {} and held_bytes(api) == held + 2 * STEP


def growing_vm():
    return {"memory": {"size_bytes": 256 * MIB, "max_bytes": 256 * MIB + (SLOTS + 4) * STEP}}


def test_growing_beyond_the_slots_waits_for_a_restart_and_says_why(fake):
    fake.local.act("POST", "/vms", {"name": "g", "desired_power": "running", **growing_vm()})
    check_growth_ends_with_the_slots(fake.local)


def test_where_no_room_is_left_other_things_can_be_changed(scratch):
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        api = daemon.local
        add_host(api, "h1", f"fake:///{os.path.basename(scratch)}-h1?cpus=4&memory_mib=8192")
        api.act("POST", "/vms", {"name": "g", "desired_power": "running", **growing_vm()})
        for steps in range(1, SLOTS + 2):
            grow(api, steps)
        pending = {"/memory/size_bytes": 256 * MIB + (SLOTS + 1) * STEP}
        room = api.get("/hosts/h1")["allocation"]["free_bytes"] - STEP
        api.act("POST", "/vms", {"name": "full", "desired_power": "running", "memory": {"size_bytes": room // MIB * MIB}})
        held = held_bytes(api)
        for change in ({"description": "x"}, {"cpu": {"shares": 2048}}):
            api.act("PATCH", "/vms/g", change)
            assert held_bytes(api) == held and api.get("/vms/g")["pending"] == pending
        answer = api.request("PATCH", "/vms/g", {"memory": {"size_bytes": 256 * MIB + (SLOTS + 2) * STEP}})
        assert answer.json["code"] == "insufficient_capacity", answer


@pytest.mark.long
def test_a_real_guest_grows_until_its_slots_are_used(real, virt):
    real.local.act("POST", "/vms", guest_vm("g", **growing_vm()))
    GuestAgent(virt, "g").wait_ready()
    check_growth_ends_with_the_slots(real.local)


def test_what_a_balloon_took_stays_reserved_when_a_change_fails(scratch):
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        api = daemon.local
        add_host(api, "h1", f"fake:///{os.path.basename(scratch)}-h1?cpus=4&memory_mib=4096&delay_ms=60")
        api.act("POST", "/vms", {"name": "g", "desired_power": "running", "memory": {"size_bytes": GIB // 2, "max_bytes": GIB}})
        held = held_bytes(api)
        api.act("PATCH", "/vms/g", {"memory": {"size_bytes": 384 * MIB}})
        assert held_bytes(api) == held  # the guest may have it again
        for change in [{"disks": {"more": {"size_bytes": 16 * MIB}}}, {"memory": {"size_bytes": GIB}}]:
            first = api.ok("POST", "/vms/g/pause")
            queued = api.ok("PATCH", "/vms/g", change)
            api.ok("DELETE", f"/operations/{queued.json['id']}")
            states = [api.operation(operation.json["id"], wait=60)["state"] for operation in (first, queued)]
            assert states == ["succeeded", "cancelled"]
            assert held_bytes(api) == held and api.get("/vms/g")["memory"]["size_bytes"] == 384 * MIB
            api.act("POST", "/vms/g/resume")
