# SPDX-License-Identifier: Apache-2.0
"""Pools without space: a clear problem, nothing half-made, and a guest that goes on once there is room."""
import os

import pytest

from conftest import MIB, add_host, daemon_for, guest_vm
from disks import (check_world, failed, files, latest, layers, make_guest, make_image, make_small_pool, wait_quiet,
                   wait_up)
from lab import wait_until


def is_disk_full(problem):
    assert (problem["status"], problem["code"]) == (507, "disk_full"), problem


def test_what_does_not_fit_is_refused_or_undone_and_leaves_nothing(real, virt):
    api = real.local
    small = make_small_pool(api, virt, "small", 24)
    make_image(api, "big", os.urandom(40 * MIB))
    agent = make_guest(api, virt, disks={"data": {"size_bytes": 64 * MIB}})
    agent.run("disk-write", "vda", 0, 40 * MIB, 1)
    before = agent.run("disk-hash", "vda", 0, 8 * MIB)
    left = files(virt, [small])
    full = {"name": "v", "format": "raw", "size_bytes": 64 * MIB, "allocation": "full"}
    for path, body in (("/vms/g/disks/data/move", {"pool": "small"}), ("/pools/small/volumes", full),
                       ("/vms", guest_vm("h", disks={"root": {"image": "big", "pool": "small"}})),
                       ("/vms", guest_vm("h", disks={"root": {"image": "big", "pool": "small", "clone": "full"}}))):
        is_disk_full(failed(api, "POST", path, body))
    wait_quiet(api)
    assert [vm["name"] for vm in api.get("/vms")["items"]] == ["g"]
    assert files(virt, [small]) == left
    assert virt.virsh("domstate", "g").strip() == "running"
    assert agent.run("disk-hash", "vda", 0, 8 * MIB) == before
    check_world(real, virt)


def test_an_image_that_no_longer_fits_is_told_with_the_room_that_is_left(scratch, virt):
    """The pool is looked at so seldom that its being full is found out by the copy alone."""
    with daemon_for([virt], scratch, "--set", "storage.pool_check_interval=1h") as daemon:
        api = daemon.local
        add_host(api, "h1", virt.uri)
        small = make_small_pool(api, virt, "small", 64)
        make_image(api, "big", os.urandom(40 * MIB))
        wait_until(lambda: api.get("/pools/small")["hosts"][0]["available_bytes"], 30, "the pool was looked at")
        virt.namespace.shell(f"fallocate -l 40M {small}/foreign")
        left = files(virt, [small])
        vm = guest_vm("g", disks={"root": {"image": "big", "pool": "small"}})
        is_disk_full(failed(api, "POST", "/vms", vm))
        wait_quiet(api)
        assert latest(api, "image.copy")["state"] == "failed"
        assert api.get("/vms")["items"] == [] and api.get("/pools/small/volumes")["items"] == []
        assert files(virt, [small]) == left and layers(daemon) == []
        virt.namespace.shell(f"rm {small}/foreign")
        api.act("POST", "/vms", vm)
        wait_up(api, virt)
        check_world(daemon, virt)


@pytest.mark.long
@pytest.mark.parametrize("more", [{}, {"quiesce": True}], ids=["disk", "quiesced"])
def test_a_snapshot_on_a_full_pool_is_undone_and_the_guest_goes_on(real, virt, more):
    api = real.local
    small = make_small_pool(api, virt, "small", 24)
    agent = make_guest(api, virt, disks={"data": {"size_bytes": 4 * MIB, "pool": "small"}, "same": {"size_bytes": 4 * MIB}})
    for disk in ("vda", "vdb"):
        agent.run("disk-write", disk, 0, 4 * MIB, 3)
    virt.namespace.shell(f"cat /dev/zero >{small}/foreign 2>/dev/null; [ $(stat -f -c %a {small}) = 0 ]")
    left = files(virt, [small])
    is_disk_full(failed(api, "POST", "/vms/g/snapshots", {"name": "s", **more}))
    is_disk_full(failed(api, "POST", "/snapshot-groups", {"name": "s", "vms": ["g"], **more}))
    wait_quiet(api)
    assert api.get("/vms/g/snapshots")["items"] == [] and files(virt, [small]) == left
    # What is written over is written in place: it needs no room.
    assert api.get("/vms/g")["power"] == "running"
    for disk in ("vda", "vdb"):
        agent.run("disk-write", disk, 0, 4 * MIB, 4)
    assert agent.run("disk-hash", "vda", 0, 4 * MIB) == agent.run("disk-hash", "vdb", 0, 4 * MIB)
    virt.namespace.shell(f"rm {small}/foreign && mount -o remount,size=256m {small}")
    check_world(real, virt)
    api.act("POST", "/vms/g/snapshots", {"name": "s", **more})
    for disk in ("vda", "vdb"):
        agent.run("disk-write", disk, 0, 4 * MIB, 5)
    api.act("DELETE", "/vms/g/snapshots/s")
    assert agent.run("disk-hash", "vda", 0, 4 * MIB) == agent.run("disk-hash", "vdb", 0, 4 * MIB)
    check_world(real, virt)


def test_a_guest_that_fills_its_pool_waits_and_goes_on(real, virt):
    api = real.local
    small = make_small_pool(api, virt, "small", 24)
    agent = make_guest(api, virt, disks={"data": {"size_bytes": 64 * MIB, "pool": "small"}, "same": {"size_bytes": 64 * MIB}})
    agent.run("disk-write", "vdb", 0, 32 * MIB, 7)
    pid = agent.start("disk-write", "vda", 0, 32 * MIB, 7)
    vm = wait_until(lambda: (lambda v: v if v["power"] == "paused" else None)(api.get("/vms/g")), 90, "the guest is paused")
    assert "I/O error" in vm["power_reason"] or "storage" in vm["power_reason"], vm["power_reason"]
    assert vm["desired_power"] == "running"
    virt.namespace.shell(f"mount -o remount,size=96m {small}")
    api.act("POST", "/vms/g/resume")
    agent.finish(pid, deadline_seconds=120)
    assert api.get("/vms/g")["power"] == "running"
    assert agent.run("disk-hash", "vda", 0, 32 * MIB) == agent.run("disk-hash", "vdb", 0, 32 * MIB)
