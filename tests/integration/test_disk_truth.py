# SPDX-License-Identifier: Apache-2.0
"""What QEMU has done counts, not what was remembered: guests that write on while berthd is dead, disks they still have."""
import os

import pytest

from conftest import MIB, daemon_for, guest_vm, wait_guest_ready
from disks import (assert_agree, cancel_in_database, check_world, failed, kill_at, latest, layers, make_guest, make_image,
                   make_pool, new_daemon, opened_by_qemu, recorded, rows, wait_quiet, wait_up)
from lab import wait_until


def move(api):
    return api.request("POST", "/vms/g/disks/data/move", {"pool": "second"})


@pytest.fixture
def daemon(scratch, virt):
    daemon = daemon_for([virt], scratch, "--set", "storage.pool_check_interval=1s")
    new_daemon(daemon, virt)
    yield daemon
    daemon.stop()


@pytest.mark.parametrize("off, cancelled", [
    pytest.param(False, True, id="live-cancelled"), pytest.param(True, False, id="off", marks=pytest.mark.long),
    pytest.param(False, False, id="live", marks=pytest.mark.long),
    pytest.param(True, True, id="off-cancelled", marks=pytest.mark.long)])
def test_writes_after_the_guest_went_over_survive_a_kill(daemon, virt, off, cancelled):
    """The guest goes over to the copy, berthd dies, the guest writes on (and ends)."""
    make_pool(daemon.local, virt, "second")
    agent = make_guest(daemon.local, virt, disks={"data": {"size_bytes": 32 * MIB}})
    agent.run("disk-write", "vda", 0, 4 * MIB, 5)
    written = []

    def go_on():
        agent.run("disk-write", "vda", 0, 4 * MIB, 77)
        written.append(agent.run("disk-hash", "vda", 0, 4 * MIB))
        if off:
            virt.virsh("destroy", "g")
        if cancelled:
            cancel_in_database(daemon, "vm.disk.move")
    kill_at(daemon, "vm.disk.move/copy:after", move, meanwhile=go_on)
    api = daemon.local
    assert latest(api, "vm.disk.move")["state"] == ("cancelled" if cancelled else "succeeded")
    assert api.get("/vms/g")["disks"]["data"]["pool"] == "second"
    check_world(daemon, virt)
    if off:
        api.act("POST", "/vms/g/start")
        agent = wait_up(api, virt, times=2)
    assert agent.run("disk-hash", "vda", 0, 4 * MIB) == written[0]


@pytest.mark.long
def test_a_move_that_did_not_go_over_is_undone_when_the_guest_has_ended(daemon, virt):
    make_pool(daemon.local, virt, "second")
    agent = make_guest(daemon.local, virt, disks={"data": {"size_bytes": 32 * MIB}})
    agent.run("disk-write", "vda", 0, 4 * MIB, 5)
    before = agent.run("disk-hash", "vda", 0, 4 * MIB)

    def end():
        virt.virsh("destroy", "g")
        cancel_in_database(daemon, "vm.disk.move")
    kill_at(daemon, "vm.disk.move/copy:before", move, meanwhile=end)
    assert latest(daemon.local, "vm.disk.move")["state"] == "cancelled"
    assert daemon.local.get("/vms/g")["disks"]["data"]["pool"] == "default"
    check_world(daemon, virt)
    daemon.local.act("POST", "/vms/g/start")
    assert wait_up(daemon.local, virt, times=2).run("disk-hash", "vda", 0, 4 * MIB) == before


@pytest.mark.parametrize("cancelled", [False, pytest.param(True, marks=pytest.mark.long)], ids=["", "cancelled"])
def test_a_flatten_killed_after_the_pull_is_taken_for_what_it_is(daemon, virt, cancelled):
    api = daemon.local
    make_image(api, "small", os.urandom(4 * MIB))
    agent = make_guest(api, virt, disks={"root": {"image": "small"}})
    before = agent.run("disk-hash", "vda", 0, 4 * MIB)
    api.act("POST", "/vms/g/stop")
    kill_at(daemon, "vm.disk.flatten/pull:after", lambda a: a.request("POST", "/vms/g/disks/root/flatten"),
            meanwhile=lambda: cancelled and cancel_in_database(daemon, "vm.disk.flatten"))
    api = daemon.local
    assert latest(api, "vm.disk.flatten")["state"] == ("cancelled" if cancelled else "succeeded")
    # given up, it stands on the image still, whatever the header of its file says
    assert len(recorded(api, "default", api.get("/vms/g")["disks"]["root"]["volume"])) == (2 if cancelled else 1)
    api.act("POST", "/vms/g/start")
    assert wait_up(api, virt, times=2).run("disk-hash", "vda", 0, 4 * MIB) == before
    assert len(assert_agree(api, virt, "g", "root")) == (2 if cancelled else 1)
    check_world(daemon, virt)


@pytest.mark.long
def test_an_old_file_that_cannot_be_removed_is_removed_later(daemon, virt):
    make_pool(daemon.local, virt, "second")
    make_guest(daemon.local, virt, disks={"data": {"size_bytes": 32 * MIB}})
    old = assert_agree(daemon.local, virt, "g", "data")[0]
    # a mount point cannot be removed
    block = f"touch {virt.images_dir}/other && mount --bind {virt.images_dir}/other {old}"
    kill_at(daemon, "vm.disk.move/remove:before", move, meanwhile=lambda: virt.namespace.shell(block))
    api = daemon.local
    assert latest(api, "vm.disk.move")["state"] == "succeeded"
    assert "deleting" in {state for _, _, state in layers(daemon)}
    assert failed(api, "POST", "/vms/g/disks/data/move", {"pool": "second"})["code"] == "invalid"
    virt.namespace.shell(f"umount {old}")
    wait_until(lambda: {state for _, _, state in layers(daemon)} == {"ready"}, 120, "the sweep has removed it")
    assert not os.path.exists(old)
    check_world(daemon, virt)


# ---------------------------------------------------------------- what the guest still has

def volume(api, name):
    return api.get(f"/pools/default/volumes/{name}")


def test_a_disk_that_cannot_be_unplugged_stays_the_vms_until_it_stops(real, virt):
    api = real.local
    make_guest(api, virt, disks={"data": {"size_bytes": 16 * MIB}, "old": {"size_bytes": 16 * MIB, "bus": "sata"}})
    name = api.get("/vms/g")["disks"]["old"]["volume"]
    path = recorded(api, "default", name)[0]
    api.act("PATCH", "/vms/g", {"disks": {"old": None}})
    assert "old" not in api.get("/vms/g")["disks"] and list(api.get("/vms/g")["pending"]) == ["/disks/old"]
    assert path in opened_by_qemu(virt, "g") and volume(api, name)["vm"] == api.get("/vms/g")["id"]
    assert failed(api, "DELETE", f"/pools/default/volumes/{name}")["code"] == "in_use"
    again = failed(api, "PATCH", "/vms/g", {"disks": {"old": {"size_bytes": 16 * MIB}}})
    assert again["code"] == "wrong_state" and "old" in again["detail"], again
    api.act("POST", "/vms/g/stop")
    wait_until(lambda: volume(api, name)["vm"] is None, 20, "the volume is free")
    assert api.get("/vms/g")["pending"] == {}
    api.act("DELETE", f"/pools/default/volumes/{name}")
    check_world(real, virt)


def test_a_vm_that_was_started_from_outside_keeps_what_it_has(real, virt):
    api = real.local
    api.act("POST", "/vms", guest_vm("g", desired_power="stopped", disks={
        "data": {"size_bytes": 16 * MIB}, "old": {"size_bytes": 16 * MIB, "bus": "sata"}}))
    spec = api.get("/vms/g")["disks"]
    virt.virsh("start", "g")
    wait_guest_ready(api, "g")
    wait_until(lambda: api.get("/vms/g")["power"] == "running", 20, "it is seen")
    wait_quiet(api)
    api.act("PATCH", "/vms/g", {"disks": {"data": None, "old": None}})
    paths = {disk: recorded(api, "default", spec[disk]["volume"])[0] for disk in spec}
    assert paths["data"] not in opened_by_qemu(virt, "g") and volume(api, spec["data"]["volume"])["vm"] is None
    assert paths["old"] in opened_by_qemu(virt, "g") and volume(api, spec["old"]["volume"])["vm"] is not None
    assert list(api.get("/vms/g")["pending"]) == ["/disks/old"]


def test_a_file_in_use_is_not_deleted_whoever_uses_it(real, virt):
    """A domain that Berth knows nothing of has opened a free volume."""
    api = real.local
    api.act("POST", "/pools/default/volumes", {"name": "free", "size_bytes": 16 * MIB})
    path = recorded(api, "default", "free")[0]
    virt.virsh("create", "/dev/stdin", stdin=FOREIGN.format(path=path))
    problem = failed(api, "DELETE", "/pools/default/volumes/free")
    assert problem["code"] == "in_use" and "stranger" in problem["detail"], problem
    assert os.path.exists(path)
    virt.virsh("destroy", "stranger")
    api.act("DELETE", "/pools/default/volumes/free")
    assert not os.path.exists(path)


FOREIGN = """<domain type='qemu'><name>stranger</name><memory>16384</memory><os><type>hvm</type></os><devices>
<disk type='file'><driver name='qemu' type='qcow2'/><source file='{path}'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>"""


def test_disks_and_nics_leave_a_running_vm_with_cloud_init(real, virt):
    api = real.local
    make_guest(api, virt, cloud_init={"hostname": "x"}, disks={"data": {"size_bytes": 16 * MIB}},
               nics={"lan": {"network": "default"}})
    name = api.get("/vms/g")["disks"]["data"]["volume"]
    api.act("PATCH", "/vms/g", {"disks": {"data": None}, "nics": {"lan": None}})
    assert api.get("/vms/g")["pending"] == {} and volume(api, name)["vm"] is None


def test_a_seed_goes_when_the_guest_has_let_go_of_it(real, virt):
    api = real.local
    make_guest(api, virt, cloud_init={"hostname": "x"}, disks={"data": {"size_bytes": 16 * MIB}})
    path = rows(real, "SELECT layer.file FROM volume JOIN layer ON layer.id = layer_id WHERE disk = 'cloud-init'")[0][0]
    path = f"{virt.images_dir}/pool/{path}"
    api.act("PATCH", "/vms/g", {"cloud_init": None})
    wait_quiet(api)
    assert path in opened_by_qemu(virt, "g") and os.path.exists(path)
    api.act("POST", "/vms/g/stop")
    wait_until(lambda: not os.path.exists(path), 20, "the seed is gone")
    check_world(real, virt)


@pytest.mark.long
def test_a_suspended_vm_keeps_its_disks(real, virt):
    api = real.local
    make_pool(api, virt, "second")
    agent = make_guest(api, virt, disks={"data": {"size_bytes": 16 * MIB}})
    before = agent.run("disk-hash", "vda", 0, MIB)
    move_body = {"pool": "second"}
    # queued behind the suspension, it is refused when its turn comes
    api.ok("POST", "/vms/g/suspend")
    late = [failed(api, "POST", "/vms/g/disks/data/move", move_body), failed(api, "PATCH", "/vms/g", {"disks": {"data": None}})]
    wait_until(lambda: api.get("/vms/g")["power"] == "suspended", 60, "it is suspended")
    wait_quiet(api)
    late += [failed(api, "POST", "/vms/g/disks/data/move", move_body), failed(api, "PATCH", "/vms/g", {"disks": {"data": None}})]
    assert {problem["code"] for problem in late} == {"wrong_state"}, late
    assert all("suspended" in problem["detail"] and problem["hint"] for problem in late), late
    assert "data" in api.get("/vms/g")["disks"] and api.get("/vms/g")["pending"] == {}
    api.act("POST", "/vms/g/start")
    assert agent.run("disk-hash", "vda", 0, MIB) == before
    check_world(real, virt)
