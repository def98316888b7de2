# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the manager while a start has its room, or waits for it: what is held stands or is freed, and nothing is left."""
import os

import pytest

from berth import Berthd
from conftest import MIB, add_host, daemon_for, guest_vm, share_memory
from disks import check_world, die_at, kill_at, latest, rows, start_with_host, wait_quiet
from lab import wait_until

SIZE, FLOOR = 512 * MIB, 64 * MIB
MEMORY = {"size_bytes": SIZE, "min_bytes": FLOOR}


def reservations(daemon):
    """{VM: state} of all that is held."""
    return dict(rows(daemon, "SELECT vm.name, r.state FROM reservation r JOIN vm ON vm.id = r.vm_id"))


def check_held(daemon, expected):
    assert reservations(daemon) == expected


POINTS = ["before", "after"]


@pytest.mark.parametrize("point", POINTS)
def test_killed_with_its_room_the_start_is_completed(scratch, point):
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        api = daemon.local
        add_host(api, "h1", f"fake:///{os.path.basename(scratch)}-h1?cpus=4&memory_mib=2048")
        api.ok("PATCH", "/host-groups/default", {"overcommit": {"mode": "balloon"}})
        api.act("POST", "/vms", {"name": "g", "memory": MEMORY})
        die_at(daemon, f"vm.start/room:{point}", lambda api: api.request("POST", "/vms/g/start"))
        assert reservations(daemon) == {"g": "starting"}
        start_with_host(daemon)
        wait_quiet(api)
        assert latest(api, "vm.start")["state"] == "succeeded" and api.get("/vms/g")["power"] == "running"
        wait_until(lambda: reservations(daemon) == {"g": "running"}, 10, "it holds what it runs with")


@pytest.fixture
def full(scratch, virt):
    """A daemon whose host has room for half a guest more; the one that runs is paused, and gives nothing."""
    with daemon_for([virt], scratch, "--set", "memory.room_timeout=60s") as daemon:
        api = daemon.local
        add_host(api, "h1", virt.uri)
        share_memory(api, 3 * SIZE // 2, 2)
        api.act("POST", "/vms", guest_vm("a", memory=MEMORY))
        api.act("POST", "/vms/a/pause")
        yield daemon


def test_killed_in_the_line_it_waits_on_and_starts_when_there_is_room(full, virt):
    api = full.local
    api.act("POST", "/vms", guest_vm("b", memory=MEMORY, desired_power="stopped"))
    die_at(full, "vm.start/room:before", lambda api: api.request("POST", "/vms/b/start"))
    assert reservations(full) == {"a": "running", "b": "starting"}
    start_with_host(full)
    operation = latest(api, "vm.start")["id"]
    wait_until(lambda: api.get("/hosts/h1/balloon")["memory"]["wanted_bytes"] > SIZE, 20, "it waits for its room")
    assert virt.virsh("list", "--name").split() == ["a"] and reservations(full)["b"] == "starting"
    api.act("POST", "/vms/a/stop")
    assert api.operation(operation)["state"] == "succeeded"
    wait_until(lambda: reservations(full) == {"b": "running"}, 20, "only the one that runs holds room")
    assert virt.virsh("list", "--name").split() == ["b"]


def create(api):
    return api.request("POST", "/vms", guest_vm("b", memory=MEMORY, disks={"root": {"size_bytes": 16 * MIB}}))


def check_refused_and_undone(daemon, virt, fault):
    api = daemon.local
    kill_at(daemon, fault, create, lambda: check_held(daemon, {"a": "running", "b": "starting"}))
    check_world(daemon, virt)
    assert api.request("GET", "/vms/b").status == 404
    assert virt.virsh("list", "--all", "--name").split() == ["a"]
    assert reservations(daemon) == {"a": "running"}
    operation = latest(api, "vm.create")
    assert operation["state"] == "failed" and operation["error"]["code"] == "insufficient_capacity", operation


def check_completed(daemon, virt, fault):
    api = daemon.local
    kill_at(daemon, fault, create, lambda: check_held(daemon, {"b": "starting"}))
    check_world(daemon, virt)
    assert latest(api, "vm.create")["state"] == "succeeded" and api.get("/vms/b")["power"] == "running"
    wait_until(lambda: reservations(daemon) == {"b": "running"}, 20, "it holds what it runs with")
    api.act("DELETE", "/vms/b?force=true&delete_disks=true")
    assert reservations(daemon) == {}


def test_a_creation_killed_in_the_line_is_undone_or_completed(full, virt):
    full.arguments += ["--set", "memory.room_timeout=1s"]
    for fault in ["vm.create/define:undo", "vm.create/volumes:undone"]:
        check_refused_and_undone(full, virt, fault)
    full.local.act("POST", "/vms/a/stop")
    for point in POINTS:
        check_completed(full, virt, f"vm.create/room:{point}")
