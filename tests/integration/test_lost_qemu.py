# SPDX-License-Identifier: Apache-2.0
"""QEMU is killed with SIGKILL while it pulls a disk together, or right after: what it had not written yet is not lost."""
import concurrent.futures
import contextlib
import hashlib
import os
import signal
import struct

import pytest

from conftest import MIB
from disks import (assert_agree, carriers, check_world, failed, kill_at, latest, make_guest, make_image, recorded,
                   rows, wait_quiet, wait_up)
from lab import wait_until

SIZES = pytest.mark.parametrize("mib", [64, pytest.param(192, marks=pytest.mark.long)])
FLATTEN = "/vms/g/disks/root/flatten"


def is_flat(path):
    """Whether the header of this qcow2 file says that nothing is below (its bytes 8 to 15: backing_file_offset)."""
    with open(path, "rb") as file:
        return struct.unpack(">Q", file.read(16)[8:])[0] == 0


@contextlib.contextmanager
def stopped(daemon):
    """The daemon sees nothing of what happens meanwhile."""
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.process.send_signal(signal.SIGCONT)


class World:
    """A running VM, g, whose disk stands on an image of random data. Its guest writes nothing."""

    def __init__(self, daemon, virt, mib):
        self.daemon, self.virt = daemon, virt
        content = os.urandom(mib * MIB)
        self.size, self.sha256, self.starts = len(content), hashlib.sha256(content).hexdigest(), 1
        make_image(self.api, "base", content)
        make_guest(self.api, virt, disks={"root": {"image": "base"}})
        self.path = self.chain()[0]

    @property
    def api(self):
        return self.daemon.local

    @property
    def volume(self):
        return self.api.get("/vms/g")["disks"]["root"]["volume"]

    def chain(self):
        return recorded(self.api, "default", self.volume)

    @contextlib.contextmanager
    def flattening(self):
        """While it is flattened; ends when that has ended, well."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(self.api.act, "POST", FLATTEN)
            yield
            asked.result(150)

    def wait_pulling(self):
        """Until some of the image, but not all, is in the disk's own file."""
        empty = os.stat(self.path).st_blocks
        wait_until(lambda: os.stat(self.path).st_blocks > empty + 4096, 60, "some is pulled", interval_seconds=0.002)

    def kill_qemu(self, name):
        os.kill(self.virt.qemu_pids()[name], signal.SIGKILL)
        wait_until(lambda: name not in self.virt.qemu_pids(), 30, "QEMU is gone")

    def kill_carrier(self):
        self.kill_qemu(next(name for name in self.virt.qemu_pids() if name.startswith("berth-job-")))

    def check(self, layers=1):
        """The disk is what the image was, whatever QEMU reads it; nothing is left over."""
        wait_quiet(self.api)
        assert len(self.chain()) == layers
        if self.api.get("/vms/g")["power"] in ("running", "paused"):
            self.api.act("POST", "/vms/g/stop")
        check_world(self.daemon, self.virt)
        self.api.act("POST", "/vms/g/start")
        self.starts += 1
        seen = wait_up(self.api, self.virt, times=self.starts).run("disk-hash", "vda", 0, self.size)
        assert seen["sha256"] == self.sha256
        assert len(assert_agree(self.api, self.virt, "g", "root")) == layers


@SIZES
def test_a_carrier_that_dies_under_way_is_followed_by_another(real, virt, mib):
    world = World(real, virt, mib)
    world.api.act("POST", "/vms/g/stop")
    with world.flattening():
        world.wait_pulling()
        with stopped(real):
            world.kill_carrier()
    world.check()


@SIZES
def test_a_carrier_that_dies_when_its_pull_has_ended_is_not_believed(real, virt, mib):
    world = World(real, virt, mib)
    world.api.act("POST", "/vms/g/stop")
    with world.flattening():
        world.wait_pulling()
        with stopped(real):
            wait_until(lambda: is_flat(world.path), 60, "the pull has ended")
            world.kill_carrier()
    world.check()


@SIZES
def test_a_guest_that_dies_when_its_pull_has_ended_is_not_believed(real, virt, mib):
    world = World(real, virt, mib)
    with world.flattening():
        world.wait_pulling()
        with stopped(real):
            wait_until(lambda: is_flat(world.path), 60, "the pull has ended")
            world.kill_qemu("g")
    world.check()


@SIZES
def test_a_guest_that_dies_when_its_disk_is_flat_has_its_disk(real, virt, mib):
    world = World(real, virt, mib)
    world.api.act("POST", FLATTEN)
    world.kill_qemu("g")
    wait_until(lambda: world.api.get("/vms/g")["power"] not in ("running", "paused"), 30, "its end is seen")
    world.check()


def test_carriers_that_die_again_and_again_leave_the_disk_as_it_was(real, virt):
    world = World(real, virt, 64)
    world.api.act("POST", "/vms/g/stop")
    seen = set()

    def kill():
        names = {name: pid for name, pid in virt.qemu_pids().items() if name.startswith("berth-job-")}
        for pid in set(names.values()) - seen:
            seen.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return asked.done()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(failed, world.api, "POST", FLATTEN)
        wait_until(kill, 120, "it is given up", interval_seconds=0.01)
    assert asked.result()["code"] in ("gone", "hypervisor"), asked.result()
    world.check(layers=2)
    world.api.act("POST", FLATTEN)
    world.check()


def test_a_paused_vm_is_flattened_when_it_goes_on(real, virt):
    world = World(real, virt, 8)
    world.api.act("POST", "/vms/g/pause")
    answer = world.api.request("POST", FLATTEN)
    operation = f"/operations/{answer.json['id']}"
    wait_until(lambda: world.api.get(operation)["progress"]["phase"] == "await", 60, "all is pulled")
    assert rows(real, "SELECT pulling FROM layer WHERE backing_id IS NOT NULL") == [(1,)]
    # given up: it runs on what it has pulled, and stands on the image for whoever opens it next
    world.api.ok("DELETE", operation)
    wait_until(lambda: world.api.get(operation)["state"] == "cancelled", 60, "it is cancelled")
    world.kill_qemu("g")
    wait_until(lambda: world.api.get("/vms/g")["power"] not in ("running", "paused"), 30, "its end is seen")
    world.check(layers=2)
    world.api.act("POST", "/vms/g/pause")
    answer = world.api.request("POST", FLATTEN)
    operation = f"/operations/{answer.json['id']}"
    wait_until(lambda: world.api.get(operation)["progress"]["phase"] == "await", 60, "all is pulled")
    world.api.act("POST", "/vms/g/resume")
    wait_until(lambda: world.api.get(operation)["state"] == "succeeded", 60, "it has ended")
    assert virt.virsh("domstate", "g").strip() == "running"
    world.check()


def test_killed_while_the_guest_is_stopped_for_the_flush_it_goes_on(real, virt):
    world = World(real, virt, 8)
    kill_at(real, "vm.disk.flatten/flush:before", lambda api: api.request("POST", FLATTEN),
            meanwhile=lambda: virt.virsh("suspend", "g"))
    assert latest(world.api, "vm.disk.flatten")["state"] == "succeeded"
    assert virt.virsh("domstate", "g").strip() == "running" and carriers(virt) == []
    assert rows(real, "SELECT pulling, backing_id FROM layer WHERE image_id IS NULL") == [(0, None)]
    world.check()
