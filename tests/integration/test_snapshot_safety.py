# SPDX-License-Identifier: Apache-2.0
"""What must never happen to layers that someone still reads or writes, whoever starts or suspends the VM meanwhile."""
import os
import sqlite3

import pytest

from conftest import MIB, add_host, daemon_for, small_vm
from disks import start_with_host, wait_quiet
from lab import wait_until
from test_snapshot_policies import names, next_second, policy, run
from snapshots import World


@pytest.fixture(name="slow")
def fixture_slow(fake):
    """A host whose calls take so long that work can be put in line behind them."""
    add_host(fake.local, "h2", f"fake:///{os.path.basename(fake.state_dir)}-h2?delay_ms=300")
    return fake.local


def refused(answer, *words):
    assert answer.status == 409 and answer.json["code"] == "wrong_state", answer
    for word in words:
        assert word in answer.json["detail"], answer
    return answer.json


# ---------------------------------------------------------------- suspended VMs

def make_suspended(api, snapshots=("a",)):
    api.act("POST", "/vms", small_vm("g", disks={"d": {"size_bytes": MIB}}, desired_power="running"))
    for name in snapshots:
        api.act("POST", "/vms/g/snapshots", {"name": name})
    api.act("POST", "/vms/g/suspend")


def test_nothing_is_merged_or_reverted_under_a_suspended_vm(fake):
    api = fake.local
    make_suspended(api)
    for method, path in (("DELETE", "/vms/g/snapshots/a"), ("POST", "/vms/g/snapshots/a/revert"),
                         ("POST", "/vms/g/snapshots/a/revert?dry_run=true")):
        assert "start it" in refused(api.request(method, path), "suspended")["hint"]
    assert api.get("/vms/g/snapshots/a")["state"] == "ready" and api.get("/vms/g")["power"] == "suspended"
    api.act("POST", "/vms/g/start")
    api.act("DELETE", "/vms/g/snapshots/a")
    assert api.get("/vms/g/snapshots")["items"] == []


@pytest.mark.parametrize("method,path", [("DELETE", ""), ("POST", "/revert")])
def test_a_vm_suspended_before_their_turn_came_keeps_its_layers(slow, method, path):
    api = slow
    api.act("POST", "/vms", small_vm("g", host="h2", disks={"d": {"size_bytes": MIB}}, desired_power="running"))
    api.act("POST", "/vms/g/snapshots", {"name": "a"})
    suspend = api.ok("POST", "/vms/g/suspend").json
    operation = api.ok(method, f"/vms/g/snapshots/a{path}", None if method == "DELETE" else {}).json
    ended = api.operation(operation["id"])
    assert ended["state"] == "failed" and ended["error"]["code"] == "wrong_state", ended
    assert "suspended" in ended["error"]["detail"]
    assert api.operation(suspend["id"])["state"] == "succeeded"
    assert api.get("/vms/g/snapshots/a")["state"] == "ready" and api.get("/vms/g")["power"] == "suspended"


def test_a_policy_skips_a_suspended_vm_and_says_why(fake):
    api = fake.local
    make_suspended(api, snapshots=())
    api.act("POST", "/vms/g/start")
    policy(api, selector={"vms": ["g"]}, keep=2)
    for _ in range(2):
        run(api)
        next_second(api, "g")
    before = names(api, "g")
    assert len(before) == 2
    api.ok("PATCH", "/snapshot-policies/nightly", {"keep": 1})
    api.act("POST", "/vms/g/suspend")
    ended = api.operation(api.ok("POST", "/snapshot-policies/nightly/run").json["id"])
    failed = api.get("/snapshot-policies/nightly")["last_result"]["failed"]["g"]
    assert "suspended" in failed, (ended, failed)
    assert names(api, "g") == before


# ---------------------------------------------------------------- clones of what is being deleted

@pytest.mark.parametrize("mode", ["linked", "full"])
def test_no_clone_is_made_of_a_vm_whose_deletion_is_in_line(slow, mode):
    api = slow
    api.act("POST", "/vms", small_vm("g", host="h2", disks={"d": {"size_bytes": MIB}}, desired_power="running"))
    api.act("POST", "/vms/g/snapshots", {"name": "a"})
    api.ok("POST", "/vms/g/stop")
    deletion = api.ok("DELETE", "/vms/g?force=true&delete_disks=true").json
    problem = refused(api.request("POST", "/vms/g/clone", {"name": "c", "snapshot": "a", "mode": mode}), deletion["id"])
    assert problem["hint"]
    assert api.operation(deletion["id"])["state"] == "succeeded"
    assert api.get("/vms")["items"] == []


# ---------------------------------------------------------------- starts by others

@pytest.mark.long
def test_a_vm_started_by_others_amid_a_revert_never_runs_on_what_was_given_up(scratch, virt):
    daemon = daemon_for([virt], scratch).start()
    try:
        add_host(daemon.local, "h1", virt.uri)
        world = World(daemon, virt)
        world.write(0)
        held = world.hash()
        world.snapshot("s")
        world.write(1)
        daemon.stop()
        start_with_host(daemon, "snapshot.revert/record:after")
        with pytest.raises(OSError):
            world.api.act("POST", "/vms/g/snapshots/s/revert", {"power": "running"})
        daemon.process.wait(60)
        virt.virsh("start", "g")
        start_with_host(daemon)
        wait_quiet(daemon.local)
        wait_until(lambda: world.power() == "running", 60, "it runs")
        world.wait_up()
        world.check()
        assert world.hash() == held
    finally:
        daemon.kill()


# ---------------------------------------------------------------- lost quiescing

def test_what_was_taken_without_being_quiesced_is_merged_while_the_guest_runs(scratch, virt):
    """Killed once QEMU has gone over: nobody can say any more that the guest stayed frozen."""
    daemon = daemon_for([virt], scratch).start()
    try:
        add_host(daemon.local, "h1", virt.uri)
        world = World(daemon, virt)
        world.write(0)
        now = world.hash()
        daemon.stop()
        start_with_host(daemon, "snapshot.create/switch:after")
        with pytest.raises(OSError):
            world.snapshot("lost", quiesce=True)
        daemon.process.wait(60)
        start_with_host(daemon)
        wait_quiet(daemon.local)
        operations = {o["kind"]: o for o in daemon.local.get("/operations?page_size=100")["items"]}
        assert operations["snapshot.create"]["error"]["code"] == "deadline_exceeded", operations
        assert operations["snapshot.delete"]["state"] == "succeeded", operations
        assert world.snapshots() == {} and world.power() == "running" and world.hash() == now
        assert len(world.files()) == 1
        world.check()
    finally:
        daemon.kill()


# ---------------------------------------------------------------- policies and kills

def test_a_policys_run_waits_for_the_snapshots_it_had_asked_for_before_a_kill(scratch, virt):
    daemon = daemon_for([virt], scratch).start()
    try:
        add_host(daemon.local, "h1", virt.uri)
        daemon.local.act("POST", "/vms", small_vm("g", disks={"d": {"size_bytes": MIB}}))
        policy(daemon.local, selector={"vms": ["g"]})
        daemon.stop()
        start_with_host(daemon, "snapshot.create/files:before")
        with pytest.raises(OSError):
            run(daemon.local)
        daemon.process.wait(60)
        start_with_host(daemon)
        wait_quiet(daemon.local)
        result = daemon.local.get("/snapshot-policies/nightly")["last_result"]
        assert result["snapshots"] == 1 and result["failed"] == {} and result["state"] == "succeeded", result
    finally:
        daemon.kill()


# ---------------------------------------------------------------- groups and kills

def test_a_group_given_up_amid_its_moment_leaves_no_snapshot_behind(scratch, virt):
    """Cancelled just before the kill, while its members were past return: they end well, and are deleted then."""
    daemon = daemon_for([virt], scratch).start()
    try:
        add_host(daemon.local, "h1", virt.uri)
        for name in ("a", "b"):
            daemon.local.act("POST", "/vms", small_vm(name, disks={"d": {"size_bytes": MIB}}))
        daemon.stop()
        start_with_host(daemon, "snapshot.create/switch:before")
        with pytest.raises(OSError):
            daemon.local.act("POST", "/snapshot-groups", {"name": "pair", "vms": ["a", "b"]})
        daemon.process.wait(60)
        with sqlite3.connect(f"{daemon.state_dir}/berth.db") as database:
            database.execute("UPDATE operation SET cancel = 1 WHERE kind = 'snapshot_group.create'")
        start_with_host(daemon)
        wait_quiet(daemon.local)
        states = [o["state"] for o in daemon.local.get("/operations?page_size=100")["items"]
                  if o["kind"] == "snapshot_group.create"]
        assert states == ["cancelled"]
        assert daemon.local.request("GET", "/snapshot-groups/pair").status == 404
        for name in ("a", "b"):
            assert daemon.local.get(f"/vms/{name}/snapshots")["items"] == [], name
    finally:
        daemon.kill()
