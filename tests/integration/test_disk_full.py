# SPDX-License-Identifier: Apache-2.0
"""Pools without space: a clear problem, nothing half-made, and a guest that goes on once there is room."""
import os

from conftest import MIB, guest_vm
from disks import check_world, failed, files, make_guest, make_image, make_small_pool, wait_quiet
from lab import wait_until


def test_what_does_not_fit_is_refused_or_undone_and_leaves_nothing(real, virt):
    api = real.local
    small = make_small_pool(api, virt, "small", 24)
    make_image(api, "big", os.urandom(40 * MIB))
    agent = make_guest(api, virt, disks={"data": {"size_bytes": 64 * MIB}})
    agent.run("disk-write", "vda", 0, 40 * MIB, 1)
    before = agent.run("disk-hash", "vda", 0, 8 * MIB)
    left = files(virt, [small])
    problem = failed(api, "POST", "/vms/g/disks/data/move", {"pool": "small"})
    assert problem["code"] == "disk_full", problem
    problem = failed(api, "POST", "/pools/small/volumes", {"name": "v", "format": "raw", "size_bytes": 64 * MIB, "allocation": "full"})
    assert problem["code"] == "disk_full", problem
    problem = failed(api, "POST", "/vms", guest_vm("h", disks={"root": {"image": "big", "pool": "small"}}))
    wait_quiet(api)
    assert [vm["name"] for vm in api.get("/vms")["items"]] == ["g"]
    assert files(virt, [small]) == left
    assert virt.virsh("domstate", "g").strip() == "running"
    assert agent.run("disk-hash", "vda", 0, 8 * MIB) == before
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
