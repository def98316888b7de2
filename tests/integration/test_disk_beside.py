# SPDX-License-Identifier: Apache-2.0
"""Work on disks beside the VM's power, and its cancelling."""
import time

from conftest import MIB
from disks import check_world, make_guest, make_pool
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
    api = real.local
    second = make_pool(api, virt, "second")
    agent = make_guest(api, virt, disks={"data": {"size_bytes": 64 * MIB}})
    agent.run("disk-write", "vda", 0, 32 * MIB, 9)
    before = agent.run("disk-hash", "vda", 0, 8 * MIB)
    api.act("PATCH", "/vms/g", {"disks": {"data": {"bytes_per_second_limit": MIB}}})
    move = api.ok("POST", "/vms/g/disks/data/move", {"pool": "second"}).json
    wait_until(lambda: any(s["name"] == "copy" and s["state"] == "running" for s in api.get(f"/operations/{move['id']}")["steps"]),
               30, "it copies")
    cancelled = api.request("DELETE", f"/operations/{move['id']}")
    ended = api.operation(move["id"])
    assert ended["state"] == ("cancelled" if cancelled.status < 300 else "succeeded"), (cancelled, ended)
    api.act("PATCH", "/vms/g", {"disks": {"data": {"bytes_per_second_limit": 0}}})
    if ended["state"] == "cancelled":
        assert list(second.iterdir()) == [] and api.get("/vms/g")["disks"]["data"]["pool"] == "default"
    assert agent.run("disk-hash", "vda", 0, 8 * MIB) == before
    check_world(real, virt)
