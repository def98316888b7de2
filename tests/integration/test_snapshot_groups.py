# SPDX-License-Identifier: Apache-2.0
"""Snapshot groups: several VMs at one moment, all or none."""
from conftest import MIB, small_vm
from lab import wait_until


def make_vm(api, name, **more):
    api.act("POST", "/vms", small_vm(name, disks={"data": {"size_bytes": 8 * MIB}}, desired_power="running", **more))


def snapshots(api, vm):
    return [s["name"] for s in api.get(f"/vms/{vm}/snapshots")["items"]]


def test_group_is_made_read_and_deleted(fake):
    api = fake.local
    for name in ("a", "b"):
        make_vm(api, name, labels={"app": "shop"})
    make_vm(api, "c")
    api.act("POST", "/vms", small_vm("off", disks={"data": {"size_bytes": 8 * MIB}}))
    api.act("POST", "/snapshot-groups", {"name": "before-upgrade", "labels": {"app": "shop"}, "vms": ["off", "a"],
                                         "quiesce": True})
    group = api.get("/snapshot-groups/before-upgrade")
    assert group["state"] == "ready"
    assert sorted(m["vm"] for m in group["members"]) == ["a", "b", "off"], group
    assert {m["state"] for m in group["members"]} == {"ready"}
    kinds = {m["vm"]: api.get(f"/vms/{m['vm']}/snapshots/before-upgrade") for m in group["members"]}
    assert kinds["a"]["quiesced"] is True and kinds["off"]["kind"] == "stopped"
    assert snapshots(api, "c") == []
    assert api.get("/vms/a")["power"] == "running"
    assert api.request("POST", "/snapshot-groups", {"name": "before-upgrade", "vms": ["c"]}).status == 409
    api.act("DELETE", "/snapshot-groups/before-upgrade")
    assert snapshots(api, "a") == [] and snapshots(api, "off") == []
    assert api.request("GET", "/snapshot-groups/before-upgrade").status == 404


def test_running_vms_are_paused_for_the_moment_and_go_on(fake):
    api = fake.local
    make_vm(api, "a")
    make_vm(api, "b")
    api.act("POST", "/vms/b/pause")
    api.act("POST", "/snapshot-groups", {"name": "g", "vms": ["a", "b"]})
    assert api.get("/vms/a")["power"] == "running"
    assert api.get("/vms/b")["power"] == "paused"  # not ours to resume


def test_refusals_leave_nothing(fake):
    api = fake.local
    make_vm(api, "a")
    for body, status in (({"vms": ["a", "nobody"]}, 422), ({}, 400), ({"labels": {"x": "y"}}, 422),
                         ({"vms": ["a"], "memory": True, "quiesce": True}, 400)):
        answer = api.request("POST", "/snapshot-groups", {"name": "g", **body})
        assert answer.status == status, answer
    assert api.get("/snapshot-groups")["items"] == [] and snapshots(api, "a") == []


def test_one_that_fails_undoes_all(fake):
    """The second VM is suspended while its turn has not come: its snapshot cannot be taken."""
    api = fake.local
    make_vm(api, "a")
    make_vm(api, "b")
    suspended = api.ok("POST", "/vms/b/suspend").json
    answer = api.request("POST", "/snapshot-groups?wait=140", {"name": "g", "vms": ["a", "b"]}, timeout=170)
    if answer.status == 202 or answer.status == 200:
        assert answer.json["state"] == "failed" and "suspended" in answer.json["reason"], answer
    else:  # it was faster than we
        assert "suspended" in answer.text, answer
    api.operation(suspended["id"])
    wait_until(lambda: snapshots(api, "a") == [] and snapshots(api, "b") == [], 30, "nothing is left")
    assert api.get("/snapshot-groups")["items"] == []
    assert api.get("/vms/a")["power"] == "running"
