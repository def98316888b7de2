# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at each step of work on disks: it ends or is undone, no file is orphaned, guests keep their data."""
import os

import pytest

from conftest import MIB, daemon_for, guest_vm
from disks import (assert_agree, check_world, kill_at, latest, make_guest, make_image, make_pool, new_daemon, wait_up)
from faults import points
from lab import wait_until


def some(kind, every=6):
    """The fault points of its steps; most of them only in check-long."""
    return [point if i % every == 1 else pytest.param(point, marks=pytest.mark.long) for i, point in enumerate(points(kind))]


def images(scratch, virt):
    return daemon_for([virt], scratch, "--set", "storage.pool_check_interval=1s")


@pytest.mark.parametrize("running", [pytest.param(True, id="live"),
                                     pytest.param(False, id="off", marks=pytest.mark.long)])
@pytest.mark.parametrize("fault", some("vm.disk.move"))
def test_killed_in_a_move_the_disk_is_in_one_pool_or_the_other(scratch, virt, fault, running):
    daemon = images(scratch, virt)
    api = new_daemon(daemon, virt)
    make_pool(api, virt, "second")
    agent = make_guest(api, virt, disks={"data": {"size_bytes": 32 * MIB}})
    agent.run("disk-write", "vda", 0, 4 * MIB, 5)
    before = agent.run("disk-hash", "vda", 0, 4 * MIB)
    if not running:
        api.act("POST", "/vms/g/stop")
    kill_at(daemon, fault, lambda a: a.request("POST", "/vms/g/disks/data/move", {"pool": "second"}))
    api = daemon.local
    moved = latest(api, "vm.disk.move")
    wanted = "second" if moved and moved["state"] == "succeeded" else "default"
    assert api.get("/vms/g")["disks"]["data"]["pool"] == wanted
    check_world(daemon, virt)
    if not running:
        api.act("POST", "/vms/g/start")
        agent = wait_up(api, virt, times=2)
    assert agent.run("disk-hash", "vda", 0, 4 * MIB) == before
    daemon.stop()


@pytest.mark.parametrize("fault", some("vm.disk.flatten"))
def test_killed_while_flattening_the_guest_keeps_its_disk(scratch, virt, fault):
    daemon = images(scratch, virt)
    api = new_daemon(daemon, virt)
    make_image(api, "small", os.urandom(4 * MIB))
    agent = make_guest(api, virt, disks={"root": {"image": "small"}})
    before = agent.run("disk-hash", "vda", 0, 4 * MIB)
    kill_at(daemon, fault, lambda a: a.request("POST", "/vms/g/disks/root/flatten"))
    api = daemon.local
    done = latest(api, "vm.disk.flatten")
    chain = assert_agree(api, virt, "g", "root")
    assert len(chain) == (1 if done and done["state"] == "succeeded" else 2)
    check_world(daemon, virt)
    assert agent.run("disk-hash", "vda", 0, 4 * MIB) == before
    daemon.stop()


@pytest.mark.parametrize("fault", some("vm.create"))
def test_killed_while_a_vm_is_made_from_an_image_it_is_made_afterwards(scratch, virt, fault):
    daemon = images(scratch, virt)
    api = new_daemon(daemon, virt)
    make_image(api, "small", os.urandom(4 * MIB))
    kill_at(daemon, fault, lambda a: a.request("POST", "/vms", guest_vm(
        "g", disks={"root": {"image": "small", "clone": "full"}}, cloud_init={"hostname": "x", "password": "y"})))
    api = daemon.local
    assert latest(api, "vm.create")["state"] == "succeeded"
    wait_until(lambda: len(assert_agree(api, virt, "g", "root")) == 1, 60, "the disk is independent of its image")
    check_world(daemon, virt)
    daemon.stop()
