# SPDX-License-Identifier: Apache-2.0
"""Disks of VMs on real guests: limits, media, moves, and that all records agree afterwards."""
import concurrent.futures
import glob
import hashlib
import json
import os
import random

from conftest import MIB, guest_vm, wait_guest_ready
from disks import (assert_agree, chains, check_world, failed, files, layers, make_guest, make_image, make_pool,
                   recorded, rows, wait_quiet, wait_up)
from lab import GuestAgent, wait_until


def test_limits_and_media_change_while_the_guest_runs(real, virt):
    api = real.local
    api.act("POST", "/pools/default/volumes", {"name": "disc", "format": "raw", "size_bytes": 4 * MIB})
    api.act("POST", "/vms", guest_vm("g", disks={"data": {"size_bytes": 16 * MIB}, "cd": {"kind": "cdrom", "bus": "scsi"}}))
    wait_guest_ready(api, "g")
    api.act("PATCH", "/vms/g", {"disks": {"data": {"iops_limit": 250, "bytes_per_second_limit": 5 * MIB}}})
    tuned = virt.virsh("blkdeviotune", "g", "vda")
    assert "total_iops_sec : 250" in tuned and f"total_bytes_sec: {5 * MIB}" in tuned
    assert api.get("/vms/g")["pending"] == {}
    assert "<total_iops_sec>250<" in virt.virsh("dumpxml", "--inactive", "g")
    api.act("PATCH", "/vms/g", {"disks": {"cd": {"volume": "disc"}}})
    assert api.get("/vms/g")["pending"] == {}
    disc = recorded(api, "default", "disc")
    assert chains(virt, "g")["cd"] == disc and chains(virt, "g", inactive=True)["cd"] == disc
    assert api.get("/pools/default/volumes/disc")["disk"] == "cd"
    api.act("PATCH", "/vms/g", {"disks": {"cd": {"volume": None}}})
    assert chains(virt, "g")["cd"] == []
    assert api.get("/pools/default/volumes/disc")["vm"] is None


def test_a_disk_moves_while_the_guest_writes_and_back_when_it_is_off(real, virt):
    api = real.local
    path = make_pool(api, virt, "second")
    api.act("POST", "/vms", guest_vm("g", disks={"data": {"size_bytes": 64 * MIB}}))
    wait_guest_ready(api, "g")
    agent = GuestAgent(virt, "g")
    agent.wait_ready()
    agent.run("disk-write", "vda", 0, 8 * MIB, 7)
    before = agent.run("disk-hash", "vda", 0, 8 * MIB)
    old = assert_agree(api, virt, "g", "data")
    operation = api.act("POST", "/vms/g/disks/data/move", {"pool": "second"})
    assert operation["progress"]["percent"] == 100
    agent.run("disk-write", "vda", 8 * MIB, MIB, 9)
    after = agent.run("disk-hash", "vda", 8 * MIB, MIB)
    new = assert_agree(api, virt, "g", "data")
    assert new[0].startswith(str(path)) and not os.path.exists(old[0])
    assert agent.run("disk-hash", "vda", 0, 8 * MIB) == before
    assert api.get("/vms/g")["pending"] == {} and api.get("/vms/g")["disks"]["data"]["pool"] == "second"
    assert virt.virsh("domstate", "g").strip() == "running"
    api.act("POST", "/vms/g/stop")
    api.act("POST", "/vms/g/disks/data/move", {"pool": "default", "format": "raw"})
    back = assert_agree(api, virt, "g", "data", running=False)
    assert back[0].endswith(".raw") and not os.path.exists(new[0])
    check_world(real, virt)
    api.act("POST", "/vms/g/start")
    wait_guest_ready(api, "g", times=2)
    agent.wait_ready()
    assert agent.run("disk-hash", "vda", 0, 8 * MIB) == before
    assert agent.run("disk-hash", "vda", 8 * MIB, MIB) == after
    assert glob.glob(f"{path}/*") == []


def seed_path(virt, name):
    return chains(virt, name, inactive=True)["cloud-init"][0]


def test_cloud_init_gets_a_seed_that_follows_changes_and_hides_the_password(real, virt):
    api = real.local
    body = guest_vm("g", cloud_init={"hostname": "web1", "ssh_keys": ["ssh-ed25519 AAAA me"], "password": "s3cret-word",
                                     "user_data": "#cloud-config\npackages: [nginx]\n"})
    api.act("POST", "/vms", body)
    wait_guest_ready(api, "g")
    with open(seed_path(virt, "g"), "rb") as seed:
        content = seed.read()
    assert b"CIDATA" in content and b"web1" in content and b"packages: [nginx]" in content and b"$6$" in content
    assert b"s3cret-word" not in content
    vm = api.get("/vms/g")
    assert "password" not in vm["cloud_init"] and "s3cret" not in json.dumps(vm) and "$6$" not in json.dumps(vm)
    assert "cloud-init" not in vm["disks"]
    assert "s3cret" not in real.log()
    api.act("PATCH", "/vms/g", {"cloud_init": {"hostname": "web2"}})
    with open(seed_path(virt, "g"), "rb") as seed:
        content = seed.read()
    assert b"web2" in content and b"web1" not in content and b"$6$" in content
    api.act("POST", "/vms/g/stop")
    path = seed_path(virt, "g")
    api.act("PATCH", "/vms/g", {"cloud_init": None})
    assert "cloud-init" not in chains(virt, "g", inactive=True)
    wait_until(lambda: not os.path.exists(path), 30, "the seed is gone")
    wrong = api.request("PATCH", "/vms/g", {"cloud_init": {"user_data": "#cloud-config\nrunncmd: [ls]\n", "network_config": "x: 1"}})
    assert wrong.status == 400
    assert {e["pointer"] for e in wrong.json["errors"]} == {"/cloud_init/user_data", "/cloud_init/network_config"}


# ---------------------------------------------------------------- images

def some_bytes(size=8 * MIB, seed=1):
    return random.Random(seed).randbytes(size)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def image_disk(image="base", **more):
    return {"image": image, "size_bytes": 32 * MIB, **more}


def chain_of(api, vm, disk="root"):
    spec = api.get(f"/vms/{vm}")["disks"][disk]
    return api.get(f"/pools/{spec['pool']}/volumes/{spec['volume']}")["chain"]


def test_vms_begin_as_an_image_and_share_its_copy(real, virt):
    api = real.local
    content = some_bytes()
    make_image(api, "base", content)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: api.act("POST", "/vms", guest_vm(name, disks={"root": image_disk()})), "ab"))
    assert rows(real, "SELECT count(*) FROM layer WHERE image_id IS NOT NULL") == [(1,)]
    assert [op["kind"] for op in api.get("/operations?page_size=1000")["items"]].count("image.copy") == 1
    one, other = chain_of(api, "a"), chain_of(api, "b")
    assert len(one) == len(other) == 2 and one[1] == other[1] and one[0] != other[0]
    agents = {name: wait_up(api, virt, name) for name in "ab"}
    agents["b"].run("disk-write", "vda", 0, 65536, 5)
    assert agents["a"].run("disk-hash", "vda", 0, 8 * MIB)["sha256"] == sha256(content)
    assert agents["b"].run("disk-hash", "vda", 65536, 8 * MIB - 65536)["sha256"] == sha256(content[65536:])
    assert agents["a"].run("disks")["vda.size"] == str(32 * MIB)
    whole = {name: agent.run("disk-hash", "vda", 0, 32 * MIB) for name, agent in agents.items()}
    check_world(real, virt)
    # deletion: refused while disks stand on it, naming them
    refused = api.request("DELETE", "/images/base")
    volumes = {api.get(f"/vms/{name}")["disks"]["root"]["volume"] for name in "ab"}
    assert refused.status == 409 and refused.json["code"] == "in_use", refused
    assert all(volume in refused.text for volume in volumes), refused
    # flattened, one running and the other stopped
    api.act("POST", "/vms/b/stop")
    for name in "ab":
        api.act("POST", f"/vms/{name}/disks/root/flatten")
        assert len(chain_of(api, name)) == 1
    assert agents["a"].run("disk-hash", "vda", 0, 32 * MIB) == whole["a"]
    assert failed(api, "POST", "/vms/a/disks/root/flatten")["code"] == "wrong_state"
    api.act("DELETE", "/images/base")
    check_world(real, virt)
    api.act("POST", "/vms/b/start")
    assert wait_up(api, virt, "b", times=2).run("disk-hash", "vda", 0, 32 * MIB) == whole["b"]
    assert len(layers(real)) == 2


def test_full_clone_becomes_independent_while_its_guest_runs(real, virt):
    api = real.local
    content = some_bytes(seed=2)
    make_image(api, "base", content)
    agent = make_guest(api, virt, disks={"root": image_disk(clone="full")})
    wait_quiet(api)
    flattened = [op for op in api.get("/operations?page_size=1000")["items"] if op["kind"] == "vm.disk.flatten"]
    assert [op["state"] for op in flattened] == ["succeeded"], flattened
    assert len(assert_agree(api, virt, "g", "root")) == 1
    assert agent.run("disk-hash", "vda", 0, 8 * MIB)["sha256"] == sha256(content)
    assert virt.virsh("domstate", "g").strip() == "running"
    api.act("DELETE", "/images/base")
    check_world(real, virt)
    api.act("DELETE", "/vms/g?force=true&delete_disks=true")
    assert layers(real) == [] and files(virt, [virt.images_dir / "pool"]) == set()


def test_medium_made_from_an_image_goes_when_it_is_ejected(real, virt):
    api = real.local
    make_image(api, "disc", some_bytes(2 * MIB, seed=3))
    make_guest(api, virt, disks={"cd": {"kind": "cdrom", "bus": "scsi"}})
    for _ in range(2):
        api.act("PATCH", "/vms/g", {"disks": {"cd": {"image": "disc"}}})
        assert api.get("/vms/g")["pending"] == {}
        inserted = assert_agree(api, virt, "g", "cd")
        assert len(inserted) == 2 and os.path.exists(inserted[0])
        api.act("PATCH", "/vms/g", {"disks": {"cd": {"image": None, "volume": None}}})
        assert chains(virt, "g")["cd"] == [] and chains(virt, "g", inactive=True)["cd"] == []
        wait_quiet(api)
        assert api.get("/pools/default/volumes")["items"] == [] and not os.path.exists(inserted[0])
    api.act("DELETE", "/images/disc")
    check_world(real, virt)


def test_vm_whose_image_cannot_be_copied_leaves_nothing(real, virt):
    api = real.local
    image = make_image(api, "base", some_bytes())
    kept = os.path.join(real.state_dir, "images", "library", image["id"] + ".qcow2")
    os.rename(kept, kept + ".away")
    problem = failed(api, "POST", "/vms", guest_vm("g", disks={"root": image_disk(), "data": {"size_bytes": MIB}}))
    assert "image" in problem["detail"], problem
    assert api.request("GET", "/vms/g").status == 404
    assert api.get("/pools/default/volumes")["items"] == [] and virt.virsh("list", "--all", "--name").split() == []
    wait_quiet(api)
    assert files(virt, [virt.images_dir / "pool"]) == set()
    os.rename(kept + ".away", kept)
    api.act("POST", "/vms", guest_vm("g", disks={"root": image_disk()}))
    check_world(real, virt)
    api.act("DELETE", "/vms/g?force=true&delete_disks=true")
    api.act("DELETE", "/images/base")
    assert layers(real) == [] and files(virt, [virt.images_dir / "pool"]) == set()


def test_vm_is_cloned_from_a_snapshot(real, virt):
    api = real.local
    agent = make_guest(api, virt, disks={"d": {"size_bytes": 16 * MIB}})
    agent.run("disk-write", "vda", 0, MIB, 1)
    held = agent.run("disk-hash", "vda", 0, 16 * MIB)
    api.act("POST", "/vms/g/snapshots", {"name": "s"})
    agent.run("disk-write", "vda", 0, MIB, 2)
    now = agent.run("disk-hash", "vda", 0, 16 * MIB)
    for mode in ("linked", "full"):
        api.act("POST", "/vms/g/clone", {"name": mode, "snapshot": "s", "mode": mode, "desired_power": "running"})
        assert wait_up(api, virt, mode).run("disk-hash", "vda", 0, 16 * MIB) == held
    wait_quiet(api)
    assert len(chain_of(api, "linked", "d")) == 2 and len(chain_of(api, "full", "d")) == 1
    macs = [nic["mac"] for name in ("g", "linked", "full") for nic in api.get(f"/vms/{name}")["nics"].values()]
    assert len(set(macs)) == len(macs)
    check_world(real, virt)
    assert agent.run("disk-hash", "vda", 0, 16 * MIB) == now
    missing = api.request("POST", "/vms/g/clone", {"name": "x", "snapshot": "none"})
    assert missing.status in (400, 422) and missing.json["errors"][0]["pointer"] == "/snapshot", missing
