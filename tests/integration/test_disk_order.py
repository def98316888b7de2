# SPDX-License-Identifier: Apache-2.0
"""Work that waited in a VM's queue decides by what it finds when its turn comes. On a slow fake host."""
import os

import pytest

from berth import Berthd
from conftest import MIB, add_host, small_vm
from disks import rows


@pytest.fixture
def slow(scratch):
    """A daemon whose host takes its time for each call, so that what follows at once is queued."""
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        add_host(daemon.local, "h1", f"fake:///{os.path.basename(scratch)}-h1?cpus=16&memory_mib=65536&delay_ms=60")
        yield daemon


def ended(api, *operations):
    return [api.operation(operation.json["id"], wait=60) for operation in operations]


def chain(api, vm, disk):
    spec = api.get(f"/vms/{vm}")["disks"][disk]
    return api.get(f"/pools/{spec['pool']}/volumes/{spec['volume']}")["chain"]


@pytest.mark.parametrize("work, body", [("move", {"pool": "second"}), ("flatten", None)])
def test_work_queued_behind_a_snapshot_leaves_the_layer_that_the_snapshot_keeps(slow, work, body):
    api = slow.local
    api.act("POST", "/pools", {"name": "second", "kind": "dir", "path": "/srv/second"})
    api.act("POST", "/vms", small_vm("base", disks={"data": {"size_bytes": 16 * MIB}}))
    api.act("POST", "/vms/base/snapshots", {"name": "s"})
    api.act("POST", "/vms/base/clone", {"name": "g", "mode": "linked", "snapshot": "s"})
    begun = [api.ok("POST", "/vms/g/start"), api.ok("POST", "/vms/g/snapshots", {"name": "keep"}),
             api.ok("POST", f"/vms/g/disks/data/{work}", body)]
    *before, last = ended(api, *begun)
    assert [operation["state"] for operation in before] == ["succeeded", "succeeded"], before
    assert last["state"] == "failed" and last["error"]["code"] == "in_use", last
    assert "snapshot" in last["error"]["detail"] and last["error"]["hint"], last
    assert len(chain(api, "g", "data")) == 3
    api.act("POST", "/vms/g/stop")
    api.act("POST", "/vms/g/snapshots/keep/revert", {})


def test_a_disk_that_grew_meanwhile_moves_at_its_new_size(slow):
    api = slow.local
    api.act("POST", "/pools", {"name": "second", "kind": "dir", "path": "/srv/second"})
    api.act("POST", "/vms", small_vm("g", disks={"data": {"size_bytes": 16 * MIB}}))
    name = api.get("/vms/g")["disks"]["data"]["volume"]
    begun = [api.ok("POST", "/vms/g/start"), api.ok("POST", f"/pools/default/volumes/{name}/resize", {"size_bytes": 32 * MIB}),
             api.ok("POST", "/vms/g/disks/data/move", {"pool": "second"})]
    assert [operation["state"] for operation in ended(api, *begun)] == ["succeeded"] * 3
    assert rows(slow, "SELECT size_bytes FROM layer") == [(32 * MIB,)]
    api.act("POST", "/vms/g/stop")
    api.act("POST", "/vms/g/start")  # compares sizes with the files


def test_a_start_does_not_see_a_change_that_was_asked_for_after_it(slow):
    """The new disk's file is made by the change itself, behind the start."""
    api = slow.local
    api.act("POST", "/vms", small_vm("g", disks={"data": {"size_bytes": 16 * MIB}}))
    begun = [api.ok("POST", "/vms/g/snapshots", {"name": "s"}), api.ok("POST", "/vms/g/start"),
             api.ok("PATCH", "/vms/g", {"disks": {"more": {"size_bytes": 16 * MIB}}})]
    assert [operation["state"] for operation in ended(api, *begun)] == ["succeeded"] * 3
    vm = api.get("/vms/g")
    assert sorted(vm["disks"]) == ["data", "more"] and vm["pending"] == {} and vm["power"] == "running"


def test_work_queued_behind_a_suspension_is_refused(slow):
    api = slow.local
    api.act("POST", "/pools", {"name": "second", "kind": "dir", "path": "/srv/second"})
    api.act("POST", "/vms", small_vm("g", desired_power="running", disks={"data": {"size_bytes": 16 * MIB}}))
    begun = [api.ok("POST", "/vms/g/suspend"), api.ok("POST", "/vms/g/disks/data/move", {"pool": "second"}),
             api.ok("PATCH", "/vms/g", {"disks": {"data": None}})]
    suspended, *others = ended(api, *begun)
    assert suspended["state"] == "succeeded"
    assert [operation["error"]["code"] for operation in others] == ["wrong_state"] * 2, others
    for method, path, body in [("POST", "/disks/data/move", {"pool": "second"}), ("PATCH", "", {"disks": {"data": None}})]:
        refused = api.request(method, f"/vms/g{path}", body)
        assert refused.status == 409 and refused.json["code"] == "wrong_state" and refused.json["hint"], refused
    assert "data" in api.get("/vms/g")["disks"] and api.get("/vms/g")["pending"] == {}
    api.act("POST", "/vms/g/start")
    api.act("POST", "/vms/g/disks/data/move", {"pool": "second"})


@pytest.mark.parametrize("cancelled, left", [
    ([0], ["a", "b"]), ([1, 0], []), pytest.param([1], ["a"], marks=pytest.mark.long),
    pytest.param([0, 1], [], marks=pytest.mark.long)])
def test_of_two_changes_in_line_each_leaves_the_others_volumes(slow, cancelled, left):
    api = slow.local
    api.act("POST", "/vms", small_vm("g"))
    first = api.ok("POST", "/vms/g/start")
    changes = [api.ok("PATCH", "/vms/g", {"disks": {name: {"size_bytes": 16 * MIB}}}) for name in ["a", "b"]]
    for i in cancelled:
        api.ok("DELETE", f"/operations/{changes[i].json['id']}")
    begun = ended(api, first, *changes)
    states = [operation["state"] for operation in begun]
    assert states == ["succeeded"] + ["cancelled" if i in cancelled else "succeeded" for i in range(2)], [b.get("error") for b in begun]
    disks = api.get("/vms/g")["disks"]
    assert sorted(disks) == left
    assert sorted(rows(slow, "SELECT disk, state FROM volume")) == [(name, "ready") for name in left]
    assert [api.get(f"/pools/default/volumes/{disks[name]['volume']}")["size_bytes"] for name in left] == [16 * MIB] * len(left)
    api.act("POST", "/vms/g/stop")
    api.act("POST", "/vms/g/start")  # looks at the files
