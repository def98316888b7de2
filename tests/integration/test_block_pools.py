# SPDX-License-Identifier: Apache-2.0
"""Disks in pools that hold no files (SAN, Ceph): snapshots, clones and images by way of a pool that does."""
import hashlib
import os
import xml.etree.ElementTree as ET

import pytest

from conftest import MIB, add_host, daemon_for, guest_vm
from disks import make_image, make_pool, recorded
from faults import points
from lab import GuestAgent, wait_until
from lab.ceph import Ceph
from lab.san import San
from snapshots import DISK, Walk, World, check_after_kill


class BlockWorld(World):
    """The same with a disk whose lowest layer is no file; overlays and memories lie in pool `files`."""

    def __init__(self, daemon, virt, disk, files="default"):
        self.pool = disk["pool"]
        self.files_pool = files
        super().__init__(daemon, virt, disk)

    def recorded_chain(self, disk="d"):
        assert disk == "d"
        spec = self.api.get("/vms/g")["disks"]["d"]
        assert spec["pool"] == self.pool  # whatever it stands on meanwhile
        return recorded(self.api, self.pool, spec["volume"])

    def xml_chain(self, *flags):
        disk = ET.fromstring(self.virt.virsh("dumpxml", "g", *flags)).find(".//disk[@device='disk']")
        chain = []
        while disk is not None and disk.find("source") is not None:
            chain.append(disk.find("source").get("file") or disk.find("source").get("name"))
            disk = disk.find("backingStore")
        return chain

    def files(self):
        """In the pool of files; the disk itself, which is none, counts as one."""
        path = self.virt.images_dir / ("pool" if self.files_pool == "default" else self.files_pool)
        return [self.pool, *sorted(os.listdir(path))]

    def check(self):
        """Recorded, defined and live chain agree; there are no files but those that the records name."""
        chain = self.recorded_chain()
        assert chain[-1][0] != "/", chain
        assert self.xml_chain("--inactive") == chain
        if self.power() in ("running", "paused"):
            assert self.xml_chain() == chain
        layers = {file for file, in self.rows("SELECT file FROM layer WHERE format = 'qcow2'")}
        memories = {file for file, in self.rows("SELECT memory_file FROM snapshot WHERE memory_file IS NOT NULL")}
        assert set(self.files()[1:]) == layers | memories


@pytest.fixture
def api(scratch, virt):
    with daemon_for([virt], scratch, "--set", "storage.pool_check_interval=1s") as daemon:
        add_host(daemon.local, "h1", virt.uri)
        yield daemon.local


@pytest.fixture
def daemon(scratch, virt):
    with daemon_for([virt], scratch) as running:
        add_host(running.local, "h1", virt.uri)
        yield running


def wait_ok(api, pool):
    wait_until(lambda: api.get(f"/pools/{pool}")["hosts"][0]["state"] == "ok", 30, f"pool {pool} is ok")


@pytest.fixture
def san(virt):
    with San(virt, virt.dir / "san", (DISK // MIB,)) as target:
        yield target


def lun_disk(api, san, **more):
    api.act("POST", "/pools", {"name": "san", "kind": "iscsi-direct", **more, "source": {
        "hosts": [san.address], "device": san.target, "initiator": san.initiator}})
    wait_ok(api, "san")
    api.act("POST", "/pools/san/volumes", {"name": "lun", "existing_file": "unit:0:0:1", "format": "raw"})
    return {"pool": "san", "volume": "lun"}


@pytest.fixture
def ceph(virt):
    with Ceph(virt, virt.dir / "ceph") as cluster:
        yield cluster


def ceph_pool(api, ceph, **more):
    api.act("POST", "/pools", {"name": "ceph", "kind": "rbd", **more, "source": {
        "hosts": [ceph.monitor], "name": ceph.pool, "user": ceph.user, "secret": ceph.key}})
    wait_ok(api, "ceph")


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---------------------------------------------------------------- snapshots

def test_snapshots_of_a_lun_lie_in_a_pool_of_files_and_end_in_the_lun(daemon, virt, san):
    api = daemon.local
    make_pool(api, virt, "nas")
    world = BlockWorld(daemon, virt, lun_disk(api, san, file_pool="nas"), "nas")
    world.write(0)
    first = world.hash()
    world.snapshot("mem", memory=True)
    world.check()
    assert sha256_of(san.lun_file(1)) == first
    world.write(0)
    second = world.hash()
    world.snapshot("disk")
    world.write(1)
    third = world.hash()
    world.stop()
    world.snapshot("off")
    world.start()
    world.write(2)
    assert len(world.recorded_chain()) == 4 and len({first, second, third, world.hash()}) == 4
    assert sha256_of(san.lun_file(1)) == first  # nothing of it is written in the LUN
    for name, content in (("mem", first), ("off", third), ("disk", second), ("mem", first)):
        world.revert(name, "running")
        assert world.hash() == content, name
        world.check()
    refused = api.request("DELETE", "/pools/nas?wait=30")
    assert refused.status == 409 and "volume lun" in refused.text, refused
    world.write(3)
    content = world.hash()
    for name in ("mem", "off", "disk"):
        world.delete(name)
        world.check()
        assert world.hash() == content
    world.stop()
    world.snapshot("last")
    world.delete("last")  # what had to wait for the VM is done with it
    world.check()
    assert world.snapshots() == {} and world.recorded_chain() == [f"{san.target}/1"] and world.files() == ["san"]
    assert sha256_of(san.lun_file(1)) == content
    api.act("DELETE", "/vms/g?delete_disks=true")
    assert sha256_of(san.lun_file(1)) == content


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
def test_random_walks_over_snapshots_of_a_lun(daemon, virt, san, seed):
    Walk(BlockWorld(daemon, virt, lun_disk(daemon.local, san)), seed).run(5)


@pytest.mark.long
@pytest.mark.parametrize("verb", ["create", "revert", "delete"])
def test_killed_amid_snapshots_of_a_lun(daemon, virt, san, verb):
    world = BlockWorld(daemon, virt, lun_disk(daemon.local, san))
    for fault in points(f"snapshot.{verb}"):
        check_after_kill(world, fault)


@pytest.mark.long
def test_random_walk_over_snapshots_in_ceph(daemon, virt, ceph):
    ceph_pool(daemon.local, ceph)
    Walk(BlockWorld(daemon, virt, {"pool": "ceph", "size_bytes": DISK, "format": "raw"}), 7).run(5)
    daemon.local.act("DELETE", "/vms/g?force=true&delete_disks=true")
    assert ceph.rbd("ls", ceph.pool).split() == []


def test_what_holds_no_files_is_refused_in_words(api, virt, san):
    make_pool(api, virt, "nas")
    for body, pointer, word in (({"kind": "dir", "path": str(virt.images_dir / "x"), "file_pool": "nas"}, "/file_pool",
                                 "hold files themselves"),
                                ({"file_pool": "nowhere"}, "/file_pool", "no pool named nowhere")):
        refused = api.request("POST", "/pools", {"name": "p", "kind": "iscsi-direct", **body, **({} if "path" in body else {
            "source": {"hosts": [san.address], "device": san.target, "initiator": san.initiator}})})
        assert refused.status in (400, 422) and word in refused.text and pointer in refused.text, refused
    disk = lun_disk(api, san, file_pool="nas")
    api.act("POST", "/vms", guest_vm("g", disks={"d": disk}, desired_power="stopped"))
    refused = api.request("PATCH", "/pools/san", {"file_pool": "san"})
    assert refused.status == 422 and "holds no files" in refused.text, refused
    api.act("DELETE", "/pools/nas")
    for path in ("snapshots", "snapshots?dry_run=true"):
        refused = api.request("POST", f"/vms/g/{path}", {"name": "s"})
        assert refused.status == 422 and refused.json["code"] == "unsupported", refused
        assert "pool nas" in refused.json["detail"] and "file_pool" in refused.text
    api.ok("PATCH", "/pools/san", {"file_pool": None})
    api.act("POST", "/vms/g/snapshots", {"name": "s"})
    make_image(api, "img", os.urandom(2 * MIB))
    refused = api.request("POST", "/vms", guest_vm("h", disks={"d": {"pool": "san", "image": "img"}}))
    assert refused.status == 422 and "only existing ones" in refused.text, refused
    refused = api.request("DELETE", "/vms/g?delete_disks=false")
    assert refused.status == 409 and "two pools" in refused.text, refused
    api.act("DELETE", "/vms/g/snapshots/s")
    api.act("DELETE", "/vms/g?delete_disks=false")
    refused = api.request("POST", "/pools/san/volumes/lun/clone", {"name": "c", "mode": "linked"})
    assert refused.status == 422 and "a linked clone is a file" in refused.text, refused


# ---------------------------------------------------------------- clones and images

@pytest.mark.long
def test_clones_of_a_lun(daemon, virt, san):
    api = daemon.local
    world = BlockWorld(daemon, virt, lun_disk(api, san))
    world.write(0)
    content = world.hash()
    world.snapshot("s")
    world.write(1)
    api.act("POST", "/vms/g/clone", {"name": "c", "snapshot": "s", "mode": "linked"})
    assert api.get("/vms/c")["disks"]["d"]["pool"] == "default"
    api.act("POST", "/vms/c/start")
    agent = GuestAgent(virt, "c")
    agent.wait_ready()
    assert agent.run("disk-hash", "vda", 0, DISK)["sha256"] == content
    agent.run("disk-write", "vda", 0, MIB, 99)
    changed = agent.run("disk-hash", "vda", 0, DISK)["sha256"]
    now = world.hash()
    # while the clone reads through the LUN nothing is merged into it
    world.delete("s")
    assert sha256_of(san.lun_file(1)) == content and world.hash() == now
    assert agent.run("disk-hash", "vda", 0, DISK)["sha256"] == changed
    api.act("POST", "/vms/c/disks/d/flatten")
    assert len(recorded(api, "default", api.get("/vms/c")["disks"]["d"]["volume"])) == 1
    assert agent.run("disk-hash", "vda", 0, DISK)["sha256"] == changed
    api.act("POST", "/vms/c/stop")
    api.act("POST", "/vms/c/start")
    agent.wait_ready()
    assert agent.run("disk-hash", "vda", 0, DISK)["sha256"] == changed
    api.act("DELETE", "/vms/c?force=true&delete_disks=true")
    world.snapshot("t")
    world.delete("t")
    world.check()
    assert world.hash() == now and world.recorded_chain() == [f"{san.target}/1"]
    # a free LUN stands below a linked clone, and below a full one while it is copied
    api.act("DELETE", "/vms/g?force=true&delete_disks=false")
    for mode in ("linked", "full"):
        api.act("POST", "/pools/san/volumes/lun/clone", {"name": mode, "mode": mode, "pool": "default"})
        assert len(recorded(api, "default", mode)) == (2 if mode == "linked" else 1)
    assert api.request("DELETE", "/pools/san/volumes/lun").status == 409
    api.act("POST", "/vms", guest_vm("h", disks={n: {"pool": "default", "volume": n} for n in ("linked", "full")}))
    agent = GuestAgent(virt, "h")
    agent.wait_ready()
    for device in ("vda", "vdb"):
        assert agent.run("disk-hash", device, 0, DISK)["sha256"] == now


@pytest.mark.long
def test_images_and_clones_in_ceph(daemon, virt, ceph):
    api = daemon.local
    ceph_pool(api, ceph)
    content = os.urandom(DISK)
    make_image(api, "img", content)
    first = hashlib.sha256(content).hexdigest()
    world = BlockWorld(daemon, virt, {"pool": "ceph", "image": "img"})
    assert world.api.get("/vms/g")["disks"]["d"]["clone"] == "full"
    wait_until(lambda: len(world.recorded_chain()) == 1, 60, "it has moved into Ceph")
    volume = api.get(f"/pools/ceph/volumes/{api.get('/vms/g')['disks']['d']['volume']}")
    assert volume["format"] == "raw" and ceph.rbd("ls", ceph.pool).split() == [volume["chain"][0]["file"]]
    assert world.hash() == first
    # a second one is plugged in while the guest runs, larger than the image
    api.act("PATCH", "/vms/g", {"disks": {"more": {"pool": "ceph", "image": "img", "size_bytes": 2 * DISK}}})
    more = api.get("/vms/g")["disks"]["more"]["volume"]
    wait_until(lambda: len(recorded(api, "ceph", more)) == 1, 60, "it has moved into Ceph, too")
    assert world.agent.run("disk-hash", "vdb", 0, DISK)["sha256"] == first
    assert int(world.agent.run("disks")["vdb.size"]) == 2 * DISK
    api.act("PATCH", "/vms/g", {"disks": {"more": None}})
    api.act("DELETE", f"/pools/ceph/volumes/{more}")
    world.write(0)
    held = world.hash()
    world.snapshot("s", memory=True)
    world.write(1)
    now = world.hash()
    for name, mode, pool in (("full", "full", "ceph"), ("linked", "linked", "default")):
        api.act("POST", "/vms/g/clone", {"name": name, "snapshot": "s", "mode": mode})
        disk = api.get(f"/vms/{name}")["disks"]["d"]
        assert disk["pool"] == pool
        if mode == "full":
            wait_until(lambda d=disk: len(recorded(api, "ceph", d["volume"])) == 1, 60, "the clone has moved in")
        api.act("POST", f"/vms/{name}/start")
        agent = GuestAgent(virt, name)
        agent.wait_ready()
        assert agent.run("disk-hash", "vda", 0, DISK)["sha256"] == held
        api.act("DELETE", f"/vms/{name}?force=true&delete_disks=true")
    world.revert("s")
    assert world.hash() == held != now
    world.delete("s")
    assert world.hash() == held and len(world.recorded_chain()) == 1
    api.act("DELETE", "/vms/g?force=true&delete_disks=true")
    api.act("DELETE", "/images/img")
    assert ceph.rbd("ls", ceph.pool).split() == [] and world.files() == ["ceph"]
