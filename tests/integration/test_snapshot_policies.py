# SPDX-License-Identifier: Apache-2.0
"""Snapshot policies on a fake host: what they take, keep and delete, and what they leave alone."""
import re

from conftest import MIB, small_vm
from lab import wait_until


def make_vm(api, name, **more):
    api.act("POST", "/vms", small_vm(name, disks={"data": {"size_bytes": 8 * MIB}}, desired_power="running", **more))


def names(api, vm):
    return [s["name"] for s in api.get(f"/vms/{vm}/snapshots?sort=created_at")["items"] if s["state"] == "ready"]


def policy(api, **more):
    body = {"name": "nightly", "selector": {"labels": {"tier": "gold"}}, "schedule": {"daily_at": "23:30"}, "keep": 2}
    body.update(more)
    return api.ok("POST", "/snapshot-policies", body).json


def run(api, name="nightly"):
    return api.act("POST", f"/snapshot-policies/{name}/run")


def next_second(api, vm):
    """Names have seconds."""
    import time  # pylint: disable=import-outside-toplevel
    stamp = names(api, vm)[-1]
    wait_until(lambda: time.strftime("nightly-%Y%m%d-%H%M%S", time.gmtime()) > stamp, 5, "the next second")


def test_policy_is_checked_read_changed_and_deleted(fake):
    api = fake.local
    made = policy(api)
    assert made["enabled"] is True and made["last_run_at"] is None and made["last_result"] is None
    assert made["next_run_at"].endswith("T23:30:00Z") or "T23:30:00." in made["next_run_at"], made
    for bad, pointer in (({"schedule": {}}, "/schedule"), ({"schedule": {"daily_at": "24:00"}}, "/schedule/daily_at"),
                         ({"schedule": {"daily_at": "1:30"}}, "/schedule/daily_at"),
                         ({"schedule": {"every_minutes": 5, "daily_at": "01:00"}}, "/schedule"),
                         ({"selector": {}}, "/selector"), ({"memory": True, "quiesce": True}, "/quiesce"),
                         ({"keep": 0}, "/keep"), ({"name": "a" * 48}, "/name")):
        answer = api.request("POST", "/snapshot-policies", {**{"name": "p", "selector": {"vms": ["a"]},
                                                              "schedule": {"every_minutes": 5}}, **bad})
        assert answer.status == 400, answer
        pointers = [error["pointer"] for error in answer.json["errors"]]
        assert pointer in pointers, answer
    assert api.request("POST", "/snapshot-policies", {"name": "nightly", "selector": {"vms": ["a"]},
                                                      "schedule": {"every_minutes": 5}}).status == 409
    changed = api.ok("PATCH", "/snapshot-policies/nightly", {"enabled": False, "description": "off"}).json
    assert changed["next_run_at"] is None and changed["description"] == "off" and changed["version"] == 2
    assert [p["name"] for p in api.get("/snapshot-policies")["items"]] == ["nightly"]
    api.ok("DELETE", "/snapshot-policies/nightly")
    assert api.request("GET", "/snapshot-policies/nightly").status == 404


def test_run_keeps_its_newest_and_leaves_what_was_made_by_hand(fake):
    api = fake.local
    make_vm(api, "gold1", labels={"tier": "gold"})
    make_vm(api, "gold2", labels={"tier": "gold", "more": "x"})
    make_vm(api, "lead", labels={"tier": "lead"})
    api.act("POST", "/vms/gold1/snapshots", {"name": "by-hand"})
    policy(api, expire_after_hours=48)
    for _ in range(3):
        operation = run(api)
        assert operation["result"]["snapshots"] == 2 and operation["result"]["failed"] == {}, operation
        next_second(api, "gold1")
    wait_until(lambda: len(names(api, "gold1")) == 3, 30, "the oldest is gone")
    assert names(api, "gold1")[0] == "by-hand"
    assert all(re.fullmatch(r"nightly-\d{8}-\d{6}", n) for n in names(api, "gold1")[1:])
    wait_until(lambda: len(names(api, "gold2")) == 2, 30, "the oldest is gone")
    assert names(api, "lead") == []
    shown = api.get("/snapshot-policies/nightly")
    assert shown["last_result"]["snapshots"] == 2 and shown["last_result"]["deleted"] == 2, shown
    assert shown["last_run_at"] is not None
    assert shown["forecast"]["limit"] == 16 and shown["forecast"]["reached_at"] is None, shown
    newest = api.get("/vms/gold2/snapshots?sort=created_at")["items"][-1]
    assert newest["expires_at"] is not None
    # without the policy its snapshots stay
    api.ok("DELETE", "/snapshot-policies/nightly")
    assert len(names(api, "gold1")) == 3


def test_a_vm_that_fails_harms_no_other_and_is_named(fake):
    api = fake.local
    make_vm(api, "a")
    make_vm(api, "b")
    api.act("POST", "/vms/a/suspend")
    policy(api, selector={"vms": ["a", "b", "gone"]})
    operation = run(api)
    assert operation["result"]["snapshots"] == 1, operation
    assert list(operation["result"]["failed"]) == ["a"] and "suspended" in operation["result"]["failed"]["a"]
    assert len(names(api, "b")) == 1
    assert "suspended" in api.get("/snapshot-policies/nightly")["last_result"]["failed"]["a"]


def test_expired_snapshots_go_and_others_stay(fake):
    api = fake.local
    make_vm(api, "a")
    api.act("POST", "/vms/a/snapshots", {"name": "stays"})
    api.act("POST", "/vms/a/snapshots", {"name": "goes"})
    api.ok("PATCH", "/vms/a/snapshots/goes", {"expires_at": "2020-01-01T00:00:00Z"})
    wait_until(lambda: names(api, "a") == ["stays"], 30, "the expired one is gone")
