# SPDX-License-Identifier: Apache-2.0
"""Snapshot policies on a fake host: what they take, keep and delete, and what they leave alone."""
import os
import re

import pytest

from berth import Berthd
from conftest import MIB, add_host, daemon_for, small_vm
from disks import rows
from lab import wait_until
from snapshots import World


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


# ---- chains that are full ----

LAYER = "SELECT layer_id FROM volume WHERE disk = ?"
SNAPSHOT_LAYER = "SELECT layer_id FROM snapshot_disk JOIN snapshot ON snapshot.id = snapshot_id WHERE snapshot.name = ?"


@pytest.fixture(name="short")
def fixture_short(scratch):
    """A daemon with a fake host, whose chains hold two snapshots."""
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true", "--set", "storage.max_chain_depth=3") as daemon:
        add_host(daemon.local, "h1", f"fake:///{os.path.basename(scratch)}-h1?cpus=16&memory_mib=65536")
        yield daemon


def test_a_full_chain_gives_up_the_policys_oldest_and_goes_on(short):
    api = short.local
    make_vm(api, "a")
    policy(api, selector={"vms": ["a"]}, keep=10)
    taken = []
    for turn in range(5):
        (written,), = rows(short, LAYER, "data")
        result = run(api)["result"]
        assert (result["snapshots"], result["deleted"], result["failed"]) == (1, 1 if turn > 1 else 0, {}), (turn, result)
        taken.append(names(api, "a")[-1])
        assert names(api, "a") == taken[-2:] and len(set(taken)) == turn + 1
        # What the guest had written until now is what the newest shows, and it goes on above it.
        assert rows(short, SNAPSHOT_LAYER, taken[-1]) == [(written,)]
        assert rows(short, "SELECT backing_id FROM layer WHERE id = (SELECT layer_id FROM volume)") == [(written,)]
        assert len(rows(short, "SELECT id FROM layer")) == min(turn + 2, 3)
        next_second(api, "a")
    # It starts only if the files' headers say what is recorded.
    api.act("POST", "/vms/a/stop")
    api.act("POST", "/vms/a/start")


def test_a_full_chain_takes_nothing_from_another_branch(short):
    """What lies beside the chain would give no room in it."""
    api = short.local
    make_vm(api, "a")
    api.act("POST", "/vms/a/snapshots", {"name": "base"})
    policy(api, selector={"vms": ["a"]}, keep=10)
    taken = []
    for turn in range(3):
        result = run(api)["result"]
        assert (result["snapshots"], result["failed"]) == (1, {}), (turn, result)
        taken.append(names(api, "a")[-1])
        if turn == 0:
            api.act("POST", "/vms/a/snapshots/base/revert", {"power": "running"})
        next_second(api, "a")
    assert names(api, "a") == ["base", taken[0], taken[2]]


def test_a_chain_that_others_filled_is_left_alone_and_said(short):
    api = short.local
    make_vm(api, "a")
    for name in ("one", "two"):
        api.act("POST", "/vms/a/snapshots", {"name": name})
    policy(api, selector={"vms": ["a"]})
    ended = api.operation(api.ok("POST", "/snapshot-policies/nightly/run").json["id"])
    assert ended["state"] == "failed", ended
    reason = api.get("/snapshot-policies/nightly")["last_result"]["failed"]["a"]
    assert "chain" in reason and "3" in reason, reason
    assert names(api, "a") == ["one", "two"]


@pytest.mark.long
@pytest.mark.parametrize("memory", [False, True])
def test_a_policy_at_the_limit_keeps_what_the_guest_has_written(scratch, virt, memory):
    with daemon_for([virt], scratch, "--set", "storage.max_chain_depth=3") as daemon:
        add_host(daemon.local, "h1", virt.uri)
        world = World(daemon, virt)
        policy(world.api, selector={"vms": ["g"]}, keep=10, memory=memory)
        contents = {}
        for turn in range(4):
            world.write(turn)
            content = world.hash()
            assert run(world.api)["result"]["snapshots"] == 1
            contents[names(world.api, "g")[-1]] = content
            world.write(turn)
            content = world.hash()
            world.check()
            next_second(world.api, "g")
        left = names(world.api, "g")
        assert len(left) == 2 and world.hash() == content
        for name in left:
            world.revert(name)
            assert world.hash() == contents[name]


def test_expired_snapshots_go_and_others_stay(fake):
    api = fake.local
    make_vm(api, "a")
    api.act("POST", "/vms/a/snapshots", {"name": "stays"})
    api.act("POST", "/vms/a/snapshots", {"name": "goes"})
    api.ok("PATCH", "/vms/a/snapshots/goes", {"expires_at": "2020-01-01T00:00:00Z"})
    wait_until(lambda: names(api, "a") == ["stays"], 30, "the expired one is gone")
