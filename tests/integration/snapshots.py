# SPDX-License-Identifier: Apache-2.0
"""For tests of snapshots: a guest with a disk and what it must hold, walks over its snapshots, and kills amid the work."""
import concurrent.futures
import http.client
import json
import os
import random
import sqlite3
import subprocess
import xml.etree.ElementTree as ElementTree

from conftest import MIB, guest_vm
from disks import start_with_host, wait_quiet
from lab import GuestAgent, wait_until

DISK = 8 * MIB
AREA = 256 * 1024


class World:
    """A daemon, its libvirt, one VM "g" with a disk "d", and what its disk must hold."""

    def __init__(self, daemon, virt, disk=None, **more):
        self.daemon = daemon
        self.virt = virt
        self.agent = GuestAgent(virt, "g")
        self.seed = 0
        daemon.local.act("POST", "/vms", guest_vm("g", disks={"d": disk or {"size_bytes": DISK}}, **more))
        self.wait_up()

    @property
    def api(self):
        return self.daemon.local

    def wait_up(self):
        self.agent.wait_ready(240)  # UEFI takes its time

    def start(self):
        self.api.act("POST", "/vms/g/start")
        self.wait_up()

    def stop(self):
        self.api.act("POST", "/vms/g/stop")

    def write(self, area=None):
        """Writes a new pattern somewhere (area 0 to 7)."""
        self.seed += 1
        area = self.seed % 8 if area is None else area
        self.agent.run("disk-write", "vda", area * MIB, AREA, self.seed)

    def hash(self):
        return self.agent.run("disk-hash", "vda", 0, DISK)["sha256"]

    def snapshot(self, name, **more):
        return self.api.act("POST", "/vms/g/snapshots", {"name": name, **more})

    def revert(self, name, power="as_recorded"):
        done = self.api.act("POST", f"/vms/g/snapshots/{name}/revert", {"power": power})
        if self.power() == "running":
            self.wait_up()
        return done

    def delete(self, name):
        return self.api.act("DELETE", f"/vms/g/snapshots/{name}")

    def snapshots(self):
        return {s["name"]: s for s in self.api.get("/vms/g/snapshots?page_size=1000")["items"]}

    def power(self):
        return self.api.get("/vms/g")["power"]

    # ---- what is recorded, defined, live and on disk ----

    def rows(self, sql, *values):
        with sqlite3.connect(f"file:{self.daemon.state_dir}/berth.db?mode=ro", uri=True) as database:
            return database.execute(sql, values).fetchall()

    def recorded_chain(self, disk="d"):
        (layer,), = self.rows("SELECT layer_id FROM volume WHERE disk = ?", disk)
        chain = []
        while layer:
            (file, layer, state), = self.rows("SELECT file, backing_id, state FROM layer WHERE id = ?", layer)
            assert state == "ready"
            chain.append(file)
        return chain

    def xml_chain(self, *flags):
        disk = ElementTree.fromstring(self.virt.virsh("dumpxml", "g", *flags)).find(".//disk[@device='disk']")
        chain = []
        while disk is not None and disk.find("source") is not None:
            chain.append(os.path.basename(disk.find("source").get("file")))
            disk = disk.find("backingStore")
        return chain

    def files(self):
        return sorted(f for f in os.listdir(self.virt.images_dir / "pool"))

    def check(self):
        """Recorded, defined and live chain agree; headers, too; no file is left over; images are sound."""
        chain = self.recorded_chain()
        assert self.xml_chain("--inactive") == chain
        running = self.power() in ("running", "paused")
        if running:
            assert self.xml_chain() == chain
        pool = self.virt.images_dir / "pool"
        info = subprocess.run(["qemu-img", "info", "-U", "--output=json", "--backing-chain", pool / chain[0]],
                              capture_output=True, check=True).stdout
        assert [os.path.basename(i["filename"]) for i in json.loads(info)] == chain
        layers = {file for file, in self.rows("SELECT file FROM layer")}
        memories = {file for file, in self.rows("SELECT memory_file FROM snapshot WHERE memory_file IS NOT NULL")}
        assert set(self.files()) == layers | memories
        disks = [disk for disk, in self.rows("SELECT disk FROM volume WHERE vm_id IS NOT NULL")] if running else []
        opened = {file for disk in disks for file in self.recorded_chain(disk)}
        for file in layers - opened:
            subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", pool / file], check=True, capture_output=True)
        for file in layers:
            assert os.stat(pool / file).st_mode & 0o077 == 0, file


class Walk:
    """A tree of snapshots of all kinds with branches, and deletions in random order, while the guest runs and while not."""

    def __init__(self, world, seed):
        self.world = world
        self.chance = random.Random(seed)
        self.taken = {}  # name: (kind, hash)
        self.missing = {"memory", "disk", "stopped"}  # kinds that it has not gone back to yet
        self.content = world.hash()

    def run(self, size):
        kinds = ["memory", "disk", "stopped", *self.chance.choices(["memory", "disk", "stopped"], (3, 1, 1), k=size - 3)]
        self.chance.shuffle(kinds)
        for number, kind in enumerate(kinds, 1):
            self.take(f"s{number}", kind)
            if self.chance.random() < 0.4:
                self.revert()
            else:
                self.look()
        for kind in sorted(self.missing):
            self.revert(kind)
        names = sorted(self.taken)
        self.chance.shuffle(names)
        for name in names:
            self.delete(name)
        self.world.stop()
        # what had to wait for the VM is done with the next deletion
        self.world.snapshot("last")
        self.world.delete("last")
        self.world.check()
        assert self.world.snapshots() == {} and len(self.world.files()) == 1
        self.look()

    def look(self):
        """The guest, started if it does not run, sees what it must."""
        self.world.check()
        if self.world.power() == "stopped":
            self.world.start()
        assert self.world.hash() == self.content

    def take(self, name, kind):
        self.world.write()
        self.content = self.world.hash()
        if kind == "stopped":
            self.world.stop()
        self.world.snapshot(name, memory=kind == "memory")
        assert self.world.snapshots()[name]["kind"] == kind
        self.taken[name] = kind, self.content

    def revert(self, wanted=None):
        name = self.chance.choice(sorted(n for n, (kind, _) in self.taken.items() if wanted in (None, kind)))
        kind, self.content = self.taken[name]
        self.world.revert(name, self.chance.choice(["running", "as_recorded"]))
        self.missing.discard(kind)
        self.look()

    def delete(self, name):
        choice = self.chance.random()
        if choice < 0.3:
            self.revert()
        elif choice < 0.4:
            self.world.stop()
        del self.taken[name]
        self.world.delete(name)
        self.look()


# ---------------------------------------------------------------- kills

def settle(daemon):
    """A new daemon, and all that was begun has ended."""
    start_with_host(daemon)
    wait_quiet(daemon.local, 60)


def kill_at(world, fault, method, path, body):
    """Asks for it with the fault set; after the kill a new daemon goes on with it. True if it had been accepted."""
    daemon = world.daemon
    daemon.stop()
    start_with_host(daemon, fault)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(daemon.local.request, method, path, body)
        daemon.process.wait(60)
        try:
            answer = asked.result(60)
        except (OSError, http.client.HTTPException):
            answer = None
    assert daemon.process.returncode == -9
    settle(daemon)
    if answer is not None:
        assert daemon.local.operation(answer.json["id"])["state"] == "succeeded", fault
    return answer is not None


def check_after_kill(world, fault):
    """Sets the stage, kills at the fault, and looks at what came of it."""
    world.write(0)
    held = world.hash()
    world.snapshot("keep", memory=True)
    world.write(1)
    now = world.hash()
    kind = fault.split("/", maxsplit=1)[0]
    if kind == "snapshot.create":
        kill_at(world, fault, "POST", "/vms/g/snapshots", {"name": "new", "memory": True})
    elif kind == "snapshot.revert":
        kill_at(world, fault, "POST", "/vms/g/snapshots/keep/revert", {"power": "running"})
        world.wait_up()
        now = held
    else:
        kill_at(world, fault, "DELETE", "/vms/g/snapshots/keep", None)
    wait_until(lambda: world.power() == "running", 60, "the host was looked at after the restart, and it runs")
    assert world.hash() == now, fault
    world.check()
    for name, snapshot in world.snapshots().items():
        assert snapshot["state"] == "ready", fault
        world.revert(name)
        assert world.hash() == (held if name == "keep" else now)
        world.delete(name)
    world.check()
    assert len(world.files()) == 1, fault
