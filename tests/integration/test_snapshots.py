# SPDX-License-Identifier: Apache-2.0
"""Snapshots of real guests: what was there comes back, in any order, whatever is killed meanwhile."""
import random
import sqlite3
import subprocess
import time

import pytest

from conftest import MIB, add_host, daemon_for, guest_vm, small_vm, wait_guest_ready
from faults import points
from lab import GuestAgent, wait_until
from snapshots import AREA, DISK, Walk, World, check_after_kill, settle


def test_each_kind_of_snapshot_gives_back_what_was_there(real, virt):
    world = World(real, virt)
    world.write(0)
    world.agent.run("memory-fill", 8)
    first = world.hash()
    world.snapshot("mem", memory=True, description="with memory")
    uptime = float(world.agent.run("time")["uptime"])
    world.write(0)
    world.write(1)
    second = world.hash()
    world.agent.run("memory-free")
    # Nothing is mounted in the guest, so nothing needs to be frozen.
    assert world.snapshot("quiet", quiesce=True)["result"]["frozen_filesystems"] == 0
    assert world.snapshots()["quiet"]["quiesced"] and world.snapshots()["quiet"]["state"] == "ready"
    world.delete("quiet")
    assert list(world.snapshots()) == ["mem"]
    assert world.hash() == second
    world.check()
    world.snapshot("disk")
    world.write(2)
    third = world.hash()
    assert len({first, second, third}) == 3
    world.stop()
    world.snapshot("off")
    world.check()
    tree = world.snapshots()
    assert [(s["kind"], s["parent"], s["power"], s["is_current"]) for s in tree.values()] == [
        ("memory", None, "running", False), ("disk", "mem", "running", False), ("stopped", "disk", "stopped", True)]
    assert tree["mem"]["children"] == ["disk"] and tree["mem"]["size"]["memory_bytes"] > 8 * MIB
    assert tree["off"]["chain"]["depth"] == 3 and tree["off"]["chain"]["limit"] == 16
    # back to the memory: the guest goes on where it was
    would = world.api.ok("POST", "/vms/g/snapshots/mem/revert?dry_run=true", {}).json["result"]
    done = world.revert("mem")["result"]
    for answer in (would, done):
        assert answer["branch"]["from"] == "mem" and set(answer["branch"]["discarded"]["disks"]) == {"d"}
        assert answer["branch"]["kept_snapshots"] == ["mem", "disk", "off"] and answer["power"] == "running"
    assert done["clock_set"]
    assert world.hash() == first
    assert int(world.agent.run("memory-info")["held_kib"]) == 8 * 1024
    assert float(world.agent.run("time")["uptime"]) < uptime + 30
    assert world.api.request("GET", "/vms/g/console/log").text.count("BERTH-GUEST READY") == 1
    world.check()
    # a branch of its own, then back to the disks alone: the guest boots anew
    world.write(3)
    world.snapshot("branch", memory=True)
    branch = world.hash()
    assert world.snapshots()["branch"]["parent"] == "mem"
    world.revert("disk")
    assert world.hash() == second
    world.revert("branch")
    assert world.hash() == branch
    world.revert("off", "as_recorded")
    assert world.power() == "stopped"
    world.check()
    world.start()
    assert world.hash() == third
    # all are deleted, while the guest runs in another branch
    world.revert("branch")
    for name in ("mem", "off", "disk", "branch"):
        world.delete(name)
        world.check()
        assert world.hash() == branch
    left = world.snapshots()
    assert not left or all(s["state"] == "deleting" for s in left.values())
    assert len(world.recorded_chain()) == 1 and len(world.files()) == 1
    world.api.act("DELETE", "/vms/g?force=true&delete_disks=true")
    assert world.files() == []


@pytest.mark.long
def test_a_uefi_guest_with_a_checkpoint_goes_back_and_its_next_backup_is_full(real, virt):
    """libvirt's own snapshots know neither: internal ones refuse UEFI, and a checkpoint's bitmap forbids to revert."""
    world = World(real, virt, boot={**guest_vm("x")["boot"], "firmware": "uefi"}, memory={"size_bytes": 256 * MIB})
    assert "pflash" in virt.virsh("dumpxml", "g")
    world.write(0)
    virt.virsh("checkpoint-create-as", "g", "before", "--diskspec", "vda")
    first = world.hash()
    world.snapshot("mem", memory=True)
    world.write(0)
    world.snapshot("disk")
    second = world.hash()
    world.write(1)
    assert virt.virsh("checkpoint-list", "g", "--name").split() == ["before"]
    for name, content in (("mem", first), ("disk", second)):
        with sqlite3.connect(f"{real.state_dir}/berth.db", timeout=30) as database:
            database.execute("UPDATE volume SET next_backup_full = 0")  # as after a backup
        world.revert(name)
        assert world.hash() == content
        world.check()
        assert virt.virsh("checkpoint-list", "g", "--name").split() == []
        assert world.rows("SELECT next_backup_full FROM volume WHERE disk = 'd'") == [(1,)]
        virt.virsh("checkpoint-create-as", "g", f"after-{name}", "--diskspec", "vda")  # a new series can begin
    for name in ("mem", "disk"):
        world.delete(name)
        assert world.hash() == second
    world.check()
    assert len(world.recorded_chain()) == 1


def test_configuration_and_disks_go_back_with_a_snapshot(real, virt):
    world = World(real, virt, desired_power="running", description="before")
    api = world.api
    api.act("POST", "/vms/g/stop")
    world.snapshot("s")
    api.act("PATCH", "/vms/g", {"description": "after", "memory": {"size_bytes": 160 * MIB},
                                "disks": {"new": {"size_bytes": 8 * MIB}, "d": None}})
    plan = api.ok("POST", "/vms/g/snapshots/s/revert?dry_run=true").json["result"]
    assert plan["configuration"]["/memory/size_bytes"] == {"before": 160 * MIB, "after": 128 * MIB}
    assert plan["disks"] == {"detached": ["new"], "attached": ["d"]}
    assert "new" in api.get("/vms/g")["disks"]
    world.revert("s")
    vm = api.get("/vms/g")
    assert list(vm["disks"]) == ["d"] and vm["memory"]["size_bytes"] == 128 * MIB and vm["description"] == "after"
    free = [v for v in api.get("/pools/default/volumes")["items"] if v["vm"] is None]
    assert len(free) == 1 and free[0]["size_bytes"] == 8 * MIB
    # a disk that another VM has taken since
    volume = vm["disks"]["d"]["volume"]
    api.act("PATCH", "/vms/g", {"disks": {"d": None}})
    refused = api.request("DELETE", f"/pools/default/volumes/{volume}")
    assert refused.status == 409 and "s" in refused.json["detail"]
    api.act("PATCH", "/vms/g", {"disks": {"d": {"volume": volume}}})
    # names, texts, expiry
    changed = api.ok("PATCH", "/vms/g/snapshots/s", {"description": "x", "expires_at": "2040-01-01T00:00:00Z"}).json
    assert changed["description"] == "x" and changed["expires_at"].startswith("2040-01-01")
    assert api.ok("PATCH", "/vms/g/snapshots/s", {"expires_at": None}).json["expires_at"] is None
    assert api.request("POST", "/vms/g/snapshots", {"name": "s"}).status == 409
    assert api.request("POST", "/vms/g/snapshots", {"name": "t", "memory": True, "quiesce": True}).status == 400
    assert api.request("POST", "/vms/g/snapshots", {"name": "t", "quiesce": True}).status == 409
    world.delete("s")
    api.act("DELETE", "/vms/g?force=true&delete_disks=true")


def test_a_chain_has_a_limit_and_says_so(scratch, virt):
    with daemon_for([virt], scratch, "--set", "storage.max_chain_depth=3") as daemon:
        add_host(daemon.local, "h1", virt.uri)
        api = daemon.local
        api.act("POST", "/vms", guest_vm("g", disks={"d": {"size_bytes": DISK}}, desired_power="stopped"))
        for name in ("a", "b"):
            api.act("POST", "/vms/g/snapshots", {"name": name})
        refused = api.request("POST", "/vms/g/snapshots", {"name": "c"})
        assert refused.status == 429, refused
        assert "3" in refused.json["detail"] and "disk d" in refused.json["detail"]
        assert api.get("/vms/g/snapshots/b")["chain"]["full_at"] is not None
        api.act("DELETE", "/vms/g/snapshots/a")
        api.act("POST", "/vms/g/snapshots", {"name": "c"})


# ---------------------------------------------------------------- walks

@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_tree_with_branches_is_deleted_in_random_order(real, virt, seed):
    Walk(World(real, virt), seed).run(5)


class FakeWalk:
    """The same with all kinds, more steps and no guest: a host in memory that knows chains and files, not bytes."""

    def __init__(self, api, state_dir, name, seed):
        self.api, self.state_dir, self.name = api, state_dir, name
        self.chance = random.Random(seed)
        self.number = 0
        api.act("POST", "/vms", small_vm(name, disks={"a": {"size_bytes": MIB}, "b": {"size_bytes": MIB}}))

    def rows(self, sql, *values):
        with sqlite3.connect(f"file:{self.state_dir}/berth.db?mode=ro", uri=True) as database:
            return database.execute(sql, values).fetchall()

    def names(self):
        items = self.api.get(f"/vms/{self.name}/snapshots?page_size=1000")["items"]
        return [s["name"] for s in items if s["state"] == "ready"]

    def step(self):
        path, choice, names = f"/vms/{self.name}", self.chance.random(), self.names()
        running = self.api.get(path)["power"] == "running"
        if choice < 0.4 and len(names) < 8:
            self.number += 1
            self.api.act("POST", f"{path}/snapshots", {"name": f"s{self.number}", "memory": self.chance.random() < 0.5})
        elif choice < 0.55 and names:
            power = self.chance.choice(["running", "stopped", "as_recorded"])
            self.api.act("POST", f"{path}/snapshots/{self.chance.choice(names)}/revert", {"power": power})
        elif choice < 0.85 and names:
            self.api.act("DELETE", f"{path}/snapshots/{self.chance.choice(names)}")
        else:
            self.api.act("POST", f"{path}/stop" if running else f"{path}/start")

    def layers(self):
        (vm,) = self.rows("SELECT id FROM vm WHERE name = ?", self.name)
        return self.rows("SELECT layer.id, layer.state FROM layer JOIN volume ON volume.id = layer.volume_id "
                         "WHERE volume.vm_id = ?", *vm)

    def run(self, steps):
        for _ in range(steps):
            self.step()
        if self.api.get(f"/vms/{self.name}")["power"] == "running":
            self.api.act("POST", f"/vms/{self.name}/stop")
        self.api.act("POST", f"/vms/{self.name}/snapshots", {"name": "last"})
        for name in self.names():
            self.api.act("DELETE", f"/vms/{self.name}/snapshots/{name}")
        assert self.api.get(f"/vms/{self.name}/snapshots")["items"] == []
        assert [state for _, state in self.layers()] == ["ready", "ready"]
        # It starts only if the files' headers say what is recorded.
        self.api.act("POST", f"/vms/{self.name}/start")
        self.api.act("DELETE", f"/vms/{self.name}?force=true&delete_disks=true")


@pytest.mark.parametrize("walks", [6, pytest.param(100, marks=pytest.mark.long)])
def test_random_walks_over_the_operations_leave_one_layer(fake, walks):
    for seed in range(walks):
        FakeWalk(fake.local, fake.state_dir, f"w{seed}", seed).run(30)
    with sqlite3.connect(f"file:{fake.state_dir}/berth.db?mode=ro", uri=True) as database:
        assert database.execute("SELECT count(*) FROM layer").fetchall() == [(0,)]


# ---------------------------------------------------------------- waiting and cancelling

@pytest.mark.long
def test_a_merge_that_must_wait_is_taken_up_when_the_vm_has_stopped(fake):
    api = fake.local
    api.act("POST", "/vms", small_vm("g", disks={"d": {"size_bytes": MIB}}, desired_power="running"))
    for name, after in (("a", None), ("b", "b"), ("c", "b")):
        api.act("POST", "/vms/g/snapshots", {"name": name})
        if after:
            api.act("POST", f"/vms/g/snapshots/{after}/revert", {"power": "running"})
    done = api.act("DELETE", "/vms/g/snapshots/a")
    assert [d["disk"] for d in done["result"]["deferred"]] == ["d"]
    assert api.get("/vms/g/snapshots/a")["state"] == "deleting"
    api.act("POST", "/vms/g/stop")
    wait_until(lambda: "a" not in [s["name"] for s in api.get("/vms/g/snapshots")["items"]], 150, "a is swept")
    sweeps = '/operations?page_size=1000&filter=kind%20eq%20"snapshot.sweep"'
    wait_until(lambda: [o["state"] for o in api.get(sweeps)["items"]] == ["succeeded"], 10, "one sweep did it")


@pytest.mark.long
def test_a_cancelled_deletion_leaves_everything_as_it_was_and_can_be_repeated(real, virt):
    world = World(real, virt)
    world.stop()
    world.api.act("PATCH", "/vms/g", {"disks": {"big": {"size_bytes": 4096 * MIB}}})
    world.snapshot("s")
    (top,), = world.rows("SELECT layer.file FROM layer JOIN volume ON volume.layer_id = layer.id WHERE disk = 'big'")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 1500M", virt.images_dir / "pool" / top], check=True,
                   stdout=subprocess.DEVNULL)
    world.start()
    before = world.agent.run("disk-hash", "vdb", 0, 16 * MIB)
    operation = world.api.ok("DELETE", "/vms/g/snapshots/s").json["id"]
    wait_until(lambda: world.api.operation(operation, wait=0)["progress"]["done_bytes"] > 0, 60, "it has begun")
    world.api.ok("DELETE", f"/operations/{operation}")
    assert world.api.operation(operation)["state"] == "cancelled"
    assert world.snapshots()["s"]["state"] == "deleting" and world.power() == "running"
    world.check()
    assert world.agent.run("disk-hash", "vdb", 0, 16 * MIB) == before
    world.delete("s")
    assert world.snapshots() == {} and len(world.files()) == 2
    world.check()
    assert world.agent.run("disk-hash", "vdb", 0, 16 * MIB) == before


@pytest.mark.long
def test_a_disk_that_grew_keeps_its_size_in_merges_and_loses_it_in_a_revert(real, virt):
    world = World(real, virt)
    volume = world.api.get("/vms/g")["disks"]["d"]["volume"]

    def size():
        return int(world.agent.run("disks")["vda.size"]), world.api.get("/vms/g")["disks"]["d"]["size_bytes"]

    def grow(size_bytes):
        world.api.act("POST", f"/pools/default/volumes/{volume}/resize", {"size_bytes": size_bytes})
        wait_until(lambda: size() == (size_bytes, size_bytes), 30, "the guest sees the new size")

    world.write(0)
    world.snapshot("a", memory=True)
    world.write(1)
    grow(2 * DISK)
    content = world.hash()
    world.snapshot("b", memory=True)
    world.delete("a")  # the larger one goes into the smaller one
    world.check()
    assert size() == (2 * DISK, 2 * DISK) and world.hash() == content
    grow(3 * DISK)
    world.revert("b")
    assert size() == (2 * DISK, 2 * DISK) and world.hash() == content
    world.check()
    grow(4 * DISK)
    world.stop()
    world.delete("b")
    world.check()
    world.start()
    assert size() == (4 * DISK, 4 * DISK) and world.hash() == content


# ---------------------------------------------------------------- kills

SOME = ["snapshot.create/switch:before", "snapshot.create/switch:after", "snapshot.revert/record:before",
        "snapshot.revert/power:after", "snapshot.delete/merge:before", "snapshot.delete/merge:after"]


@pytest.mark.parametrize("faults", [SOME, *(pytest.param(points(f"snapshot.{verb}"), marks=pytest.mark.long)
                                            for verb in ("create", "revert", "delete"))],
                         ids=["some", "create", "revert", "delete"])
def test_killed_at_a_step_it_is_completed_after_the_restart(scratch, virt, faults):
    with daemon_for([virt], scratch) as daemon:
        add_host(daemon.local, "h1", virt.uri)
        world = World(daemon, virt)
        for fault in faults:
            check_after_kill(world, fault)


@pytest.mark.long
def test_killed_at_any_moment_it_loses_nothing(scratch, virt):
    chance = random.Random(7)
    daemon = daemon_for([virt], scratch).start()
    add_host(daemon.local, "h1", virt.uri)
    world = World(daemon, virt)
    for turn in range(18):
        world.write(turn % 4)
        world.snapshot("s", memory=True)
        held = world.hash()
        world.write(turn % 4)
        now = world.hash()
        method, path, body = [("DELETE", "/vms/g/snapshots/s", None),
                              ("POST", "/vms/g/snapshots", {"name": "t", "memory": turn % 2 == 0}),
                              ("POST", "/vms/g/snapshots/s/revert", {"power": "running"})][turn % 3]
        try:
            world.api.request(method, path, body)
            wait_until(lambda at=time.monotonic() + chance.uniform(0, 0.7): time.monotonic() >= at, 5, "a moment")
        finally:
            daemon.kill()
        settle(daemon)
        wait_until(lambda: world.power() == "running", 30, "it runs")
        world.wait_up()
        assert world.hash() == (held if turn % 3 == 2 else now), turn
        world.check()
        for name in list(world.snapshots()):
            world.delete(name)
        world.check()
        assert world.hash() == (held if turn % 3 == 2 else now), turn
        assert len(world.files()) == 1
    daemon.stop()


# ---------------------------------------------------------------- a full disk

def test_a_full_disk_leaves_nothing_behind_and_the_guest_goes_on(scratch, virt):
    pool = virt.images_dir / "pool"
    image = virt.images_dir / "small.ext4"
    with open(image, "wb") as file:
        file.truncate(256 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    virt.namespace.shell(f"mkdir -p {pool} && mount -o loop {image} {pool} && rmdir {pool}/lost+found")
    with daemon_for([virt], scratch) as daemon:
        api = daemon.local
        add_host(api, "h1", virt.uri)
        api.act("POST", "/vms", guest_vm("g", disks={"d": {"size_bytes": DISK}}))
        wait_guest_ready(api, "g")
        agent = GuestAgent(virt, "g")
        agent.wait_ready()
        agent.run("memory-fill", 24)
        wait_until(lambda: api.get("/pools/default")["hosts"], 60, "the pool was looked at")
        # Too small for the guest's memory already by what is known, then only by what is so.
        virt.namespace.shell(f"fallocate -l 190M {pool}/foreign")
        refused = api.request("POST", "/vms/g/snapshots?wait=120", {"name": "s", "memory": True}, timeout=150)
        files = virt.namespace.shell(f"ls {pool}")
        answer = refused
        error = answer.json["error"] if answer.status == 200 else answer.json
        assert error["status"] == 507 and error["code"] == "disk_full", answer
        assert api.get("/vms/g/snapshots")["items"] == []
        assert virt.namespace.shell(f"ls {pool}") == files
        assert api.get("/vms/g")["power"] == "running"
        agent.run("disk-write", "vda", 0, AREA, 1)
        api.act("POST", "/vms/g/snapshots", {"name": "t"})
        agent.run("disk-write", "vda", MIB, AREA, 2)
        api.act("DELETE", "/vms/g?force=true&delete_disks=true")
