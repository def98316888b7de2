# SPDX-License-Identifier: Apache-2.0
"""Work on disks beside the VM's power, and its cancelling."""
import os
import signal
import time

from conftest import MIB, guest_vm
from disks import assert_agree, check_world, make_guest, make_pool, recorded, tool, wait_up
from lab import wait_until


def test_power_does_not_wait_for_a_move_and_a_start_does(real, virt):
    api = real.local
    make_pool(api, virt, "second")
    agent = make_guest(api, virt, disks={"data": {"size_bytes": 64 * MIB, "bytes_per_second_limit": 2 * MIB}})
    pid = agent.start("disk-write", "vda", 0, 16 * MIB, 9)
    move = api.ok("POST", "/vms/g/disks/data/move", {"pool": "second"}).json
    wait_until(lambda: api.get(f"/operations/{move['id']}")["state"] == "running", 30, "the move has begun")
    began = time.monotonic()
    api.act("POST", "/vms/g/pause")
    api.act("POST", "/vms/g/resume")
    api.act("POST", "/vms/g/stop")
    stopped = time.monotonic() - began
    start = api.ok("POST", "/vms/g/start").json
    ended = [api.operation(operation["id"], wait=200) for operation in (move, start)]
    assert [operation["state"] for operation in ended] == ["succeeded", "succeeded"], ended
    assert ended[0]["ended_at"] <= ended[1]["started_at"] and stopped < 60 and pid
    assert api.get("/vms/g")["disks"]["data"]["pool"] == "second"
    check_world(real, virt)


def test_a_cancelled_move_leaves_nothing(real, virt):
    """QEMU stands still from the first copied bytes until the cancel has been taken, so the copy cannot be faster."""
    api = real.local
    second = make_pool(api, virt, "second")
    api.act("POST", "/vms", guest_vm("g", disks={"data": {"size_bytes": 512 * MIB}}, desired_power="stopped"))
    file, = recorded(api, "default", api.get("/vms/g")["disks"]["data"]["volume"])
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 384M", file)
    api.act("POST", "/vms/g/start")
    agent = wait_up(api, virt)
    before = agent.run("disk-hash", "vda", 0, 8 * MIB)
    qemu = virt.qemu_pids()["g"]
    move = api.ok("POST", "/vms/g/disks/data/move", {"pool": "second"}).json
    wait_until(lambda: any(path.stat().st_size > 4 * MIB for path in second.iterdir()), 30, "it copies", interval_seconds=0)
    os.kill(qemu, signal.SIGSTOP)
    try:
        copied = sum(path.stat().st_blocks * 512 for path in second.iterdir())
        api.ok("DELETE", f"/operations/{move['id']}")
    finally:
        os.kill(qemu, signal.SIGCONT)
    ended = api.operation(move["id"])
    assert ended["state"] == "cancelled" and 0 < copied < 384 * MIB, (ended, copied)
    assert list(second.iterdir()) == [] and api.get("/pools/second/volumes")["items"] == []
    assert api.get("/vms/g")["disks"]["data"]["pool"] == "default" and api.get("/vms/g")["power"] == "running"
    assert assert_agree(api, virt, "g", "data") == [file]
    assert agent.run("disk-hash", "vda", 0, 8 * MIB) == before
    check_world(real, virt)
    # nothing stands in the way of another try
    api.act("POST", "/vms/g/disks/data/move", {"pool": "second"})
    assert agent.run("disk-hash", "vda", 0, 8 * MIB) == before
    check_world(real, virt)
