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
from disks import (assert_agree, cancel_in_database, carriers, check_world, failed, kill_at, latest, make_guest, make_image, make_pool,
                   qemu_img_info, recorded, rows, tool, wait_quiet, wait_up)
from lab import GuestAgent, wait_until

SIZES = pytest.mark.parametrize("mib", [64, pytest.param(192, marks=pytest.mark.long)])
FLATTEN = "/vms/g/disks/root/flatten"
STAY_OFF = {"on_crash": "stay_off"}


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


def names(path, below):
    """Whether the header of this qcow2 file says that it stands on that one."""
    return qemu_img_info(path, "qcow2").get("backing-filename") == below


def wait_growth(path, blocks=4096):
    """Until something was written into that file, of 512 bytes each."""
    empty = os.stat(path).st_blocks
    wait_until(lambda: os.stat(path).st_blocks > empty + blocks, 60, f"{path} grows", interval_seconds=0.002)


def kill_qemu(virt, name):
    os.kill(virt.qemu_pids()[name], signal.SIGKILL)
    wait_until(lambda: name not in virt.qemu_pids(), 30, "QEMU is gone")


def kill_carrier(virt):
    kill_qemu(virt, next(name for name in virt.qemu_pids() if name.startswith("berth-job-")))


class World:
    """A running VM, g, whose disk stands on an image of random data. Its guest writes nothing."""

    def __init__(self, daemon, virt, mib):
        self.daemon, self.virt = daemon, virt
        content = os.urandom(mib * MIB)
        self.size, self.sha256, self.starts = len(content), hashlib.sha256(content).hexdigest(), 1
        make_image(self.api, "base", content)
        make_guest(self.api, virt, disks={"root": {"image": "base"}}, restart_policy=STAY_OFF)
        self.path = self.chain()[0]

    @property
    def api(self):
        return self.daemon.local

    def chain(self):
        disk = self.api.get("/vms/g")["disks"]["root"]
        return recorded(self.api, disk["pool"], disk["volume"])

    @contextlib.contextmanager
    def flattening(self):
        """While it is flattened; ends when that has ended, well."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(self.api.act, "POST", FLATTEN)
            yield
            asked.result(150)

    def check(self, layers=1):
        """The disk is what the image was, whatever QEMU reads it; nothing is left over."""
        wait_quiet(self.api)
        assert len(self.chain()) == layers
        if self.api.get("/vms/g")["power"] != "stopped":
            self.api.act("POST", "/vms/g/stop")
        check_world(self.daemon, self.virt)
        self.api.act("POST", "/vms/g/start")
        self.starts += 1
        seen = wait_up(self.api, self.virt, times=self.starts).run("disk-hash", "vda", 0, self.size)
        assert seen["sha256"] == self.sha256
        assert len(assert_agree(self.api, self.virt, "g", "root")) == layers


@pytest.mark.long
@SIZES
def test_a_carrier_that_dies_under_way_is_followed_by_another(real, virt, mib):
    world = World(real, virt, mib)
    world.api.act("POST", "/vms/g/stop")
    with world.flattening():
        wait_growth(world.path)
        with stopped(real):
            kill_carrier(virt)
    world.check()


@SIZES
def test_a_carrier_that_dies_when_its_pull_has_ended_is_not_believed(real, virt, mib):
    world = World(real, virt, mib)
    world.api.act("POST", "/vms/g/stop")
    with world.flattening():
        wait_growth(world.path)
        with stopped(real):
            wait_until(lambda: is_flat(world.path), 60, "the pull has ended")
            kill_carrier(virt)
    world.check()


@pytest.mark.long
@SIZES
def test_a_guest_that_dies_when_its_pull_has_ended_is_not_believed(real, virt, mib):
    world = World(real, virt, mib)
    with world.flattening():
        wait_growth(world.path)
        with stopped(real):
            wait_until(lambda: is_flat(world.path), 60, "the pull has ended")
            kill_qemu(virt, "g")
    world.check()


@SIZES
def test_a_guest_that_dies_when_its_disk_is_flat_has_its_disk(real, virt, mib):
    world = World(real, virt, mib)
    world.api.act("POST", FLATTEN)
    kill_qemu(virt, "g")
    wait_until(lambda: world.api.get("/vms/g")["power"] == "stopped", 30, "its end is seen")
    world.check()


@pytest.mark.long
def test_a_guest_that_dies_after_its_disk_has_moved_has_its_disk(real, virt):
    world = World(real, virt, 64)
    make_pool(world.api, virt, "second")
    world.api.act("POST", "/vms/g/disks/root/move", {"pool": "second"})
    kill_qemu(virt, "g")
    wait_until(lambda: world.api.get("/vms/g")["power"] == "stopped", 30, "its end is seen")
    world.check()


@pytest.mark.long
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


@pytest.mark.long
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
    kill_qemu(virt, "g")
    wait_until(lambda: world.api.get("/vms/g")["power"] == "stopped", 30, "its end is seen")
    world.check(layers=2)
    # ... also when that is given up, before it has pulled anything
    kill_at(real, "vm.disk.flatten/pull:before", lambda api: api.request("POST", FLATTEN),
            meanwhile=lambda: cancel_in_database(real, "vm.disk.flatten"))
    assert latest(world.api, "vm.disk.flatten")["state"] == "cancelled"
    assert rows(real, "SELECT pulling FROM layer WHERE backing_id IS NOT NULL") == [(1,)]
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


# ---------------------------------------------------------------- merges

class Layers:
    """A VM that is off, with snapshots s1, s2, s3 of its disk and 40 MiB written before each; it then went back to s2."""

    def __init__(self, daemon, virt):
        self.daemon, self.virt, self.starts = daemon, virt, 1
        make_guest(self.api, virt, disks={"root": {"size_bytes": 64 * MIB}}, restart_policy=STAY_OFF)
        self.api.act("POST", "/vms/g/stop")
        self.paths = {}
        for number, name in enumerate(("s1", "s2", "s3"), 1):
            self.paths[name] = self.chain()[0]
            tool("qemu-io", "-f", "qcow2", "-c", f"write -P {number} {number * 4}M 40M", self.paths[name])
            self.api.act("POST", "/vms/g/snapshots", {"name": name})
        self.api.act("POST", "/vms/g/snapshots/s2/revert", {})

    @property
    def api(self):
        return self.daemon.local

    def chain(self):
        return recorded(self.api, "default", self.api.get("/vms/g")["disks"]["root"]["volume"])

    def start(self):
        self.api.act("POST", "/vms/g/start")
        self.starts += 1
        wait_up(self.api, self.virt, times=self.starts)

    @contextlib.contextmanager
    def deleting(self, name):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(self.api.act, "DELETE", f"/vms/g/snapshots/{name}")
            yield
            asked.result(150)

    def check(self, name, last):
        """Going back to that snapshot (None: the disk as it is) shows what was written until then."""
        if name:
            self.api.act("POST", f"/vms/g/snapshots/{name}/revert", {"power": "stopped"})
        check_world(self.daemon, self.virt)
        self.start()
        seen = GuestAgent(self.virt, "g").run("disk-hash", "vda", 0, 64 * MIB)
        expected = bytearray(64 * MIB)
        for number in range(1, last + 1):
            expected[number * 4 * MIB:(number * 4 + 40) * MIB] = bytes([number]) * (40 * MIB)
        assert seen["sha256"] == hashlib.sha256(expected).hexdigest()
        self.api.act("POST", "/vms/g/stop")


@pytest.mark.long
@pytest.mark.parametrize("has_ended", [True, False])
def test_a_carrier_that_dies_in_a_merge_by_pull_is_not_believed(real, virt, has_ended):
    """s1's layer carries two branches through s2's, so it is pulled up into that."""
    world = Layers(real, virt)
    upper = world.paths["s2"]
    with world.deleting("s1"):
        wait_growth(upper)
        with stopped(real):
            if has_ended:
                wait_until(lambda: is_flat(upper), 60, "the pull has ended")
            kill_carrier(virt)
    assert is_flat(upper) and not os.path.exists(world.paths["s1"])
    assert rows(real, "SELECT sum(pulling) FROM layer") == [(0,)]
    world.check("s2", 2)
    world.check("s3", 3)


@pytest.mark.long
@pytest.mark.parametrize("has_ended", [True, False])
def test_a_carrier_that_dies_in_a_merge_by_commit_is_followed_by_another(real, virt, has_ended):
    """Without the other branch s2's layer is written down into s1's, from the midst of the chain."""
    world = Layers(real, virt)
    world.api.act("DELETE", "/vms/g/snapshots/s3")
    lower, overlay = world.paths["s1"], world.chain()[0]
    with world.deleting("s1"):
        wait_growth(lower, 512)
        with stopped(real):
            if has_ended:
                wait_until(lambda: names(overlay, lower), 60, "the commit has ended")
            kill_carrier(virt)
    assert os.path.exists(lower) and not os.path.exists(world.paths["s2"])
    world.check("s2", 2)


@pytest.mark.long
@pytest.mark.parametrize("deleted", [("s1",), ("s1", "s2")], ids=["in the midst", "at the top"])
def test_a_guest_that_dies_after_its_layers_were_merged_has_its_disk(real, virt, deleted):
    world = Layers(real, virt)
    world.api.act("DELETE", "/vms/g/snapshots/s3")
    world.start()
    for name in deleted:
        world.api.act("DELETE", f"/vms/g/snapshots/{name}")
    kill_qemu(virt, "g")
    wait_until(lambda: world.api.get("/vms/g")["power"] == "stopped", 30, "its end is seen")
    world.check(None, 2)
