# SPDX-License-Identifier: Apache-2.0
"""Every kind of pool: against the real thing where this machine can have it, else against libvirt's test:/// driver.

The monitor looks often here (storage.pool_check_interval=1s), so that what happens to a pool shows soon.
"""
import hashlib
import os
import pathlib
import time

import pytest

from conftest import MIB, add_host, daemon_for, guest_vm
from berth import Berthd
from lab import Fleet, GuestAgent, wait_until
from lab.ceph import Ceph
from lab.nas import NfsServer, SharedFolder
from lab.san import San

OFTEN = ("--set", "storage.pool_check_interval=1s")


@pytest.fixture
def api(scratch, virt):
    """A daemon with one real host, h1, that looks at its pools each second."""
    with daemon_for([virt], scratch, *OFTEN) as daemon:
        add_host(daemon.local, "h1", virt.uri)
        yield daemon.local


def host_of(api, pool, host="h1"):
    """How a host sees a pool."""
    return next(h for h in api.get(f"/pools/{pool}")["hosts"] if h["host"] == host)


def wait_pool(api, pool, state, deadline=30, host="h1"):
    return wait_until(lambda: (lambda h: h if h["state"] == state else None)(host_of(api, pool, host)), deadline,
                      f"pool {pool} on {host} is {state}")


def with_disk(name, pool, volume, **more):
    return guest_vm(name, disks={"data": {"pool": pool, "volume": volume}}, **more)


def write_and_read(agent, device="vda"):
    """What the guest writes it reads again, from the device and not from its memory."""
    agent.run("disk-write", device, 0, 1 << 20, 7)
    one = agent.run("disk-hash", device, 0, 1 << 20)["sha256"]
    agent.run("disk-write", device, 0, 1 << 20, 8)
    other = agent.run("disk-hash", device, 0, 1 << 20)["sha256"]
    assert one != other
    agent.run("disk-write", device, 0, 1 << 20, 7)
    assert agent.run("disk-hash", device, 0, 1 << 20)["sha256"] == one
    return one


def san_pool(api, san, name="san", **source):
    body = {"name": name, "kind": "iscsi-direct",
            "source": {"hosts": [san.address], "device": san.target, "initiator": san.initiator, **source}}
    return api.act("POST", "/pools", body)


# ---- directory ----

def test_directory_is_made_filled_and_left_when_not_empty(api, virt):
    path = virt.images_dir / "more"
    api.act("POST", "/pools", {"name": "more", "kind": "dir", "path": str(path)})
    seen = wait_pool(api, "more", "ok")
    assert seen["capacity_bytes"] == seen["allocation_bytes"] + seen["available_bytes"] > 0
    assert path.stat().st_mode & 0o777 == 0o711
    api.act("POST", "/pools/more/volumes", {"name": "v", "size_bytes": 16 * MIB, "format": "raw", "allocation": "full"})
    volume = api.get("/pools/more/volumes/v")
    file = pathlib.Path(volume["chain"][0]["path"])
    assert file.parent == path and file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_size == 16 * MIB and file.stat().st_blocks * 512 >= 16 * MIB
    (path / "somebody-elses").write_text("x")
    assert api.request("DELETE", "/pools/more").status == 409  # a volume is in it
    api.act("DELETE", "/pools/more/volumes/v")
    api.act("DELETE", "/pools/more")
    assert os.listdir(path) == ["somebody-elses"]
    assert "berth-more" not in virt.virsh("pool-list", "--all", "--name").split()


def test_a_pool_that_someone_else_defined_otherwise_is_not_taken_over(api, virt):
    definition = virt.dir / "pool.xml"
    definition.write_text(f"<pool type='dir'><name>berth-taken</name><target><path>{virt.dir}/x</path></target></pool>")
    virt.virsh("pool-define", definition)
    answer = api.request("POST", "/pools?wait=60", {"name": "taken", "kind": "dir", "path": str(virt.images_dir / "y")})
    assert f"{virt.dir}/x" in answer.text, answer
    assert f"{virt.dir}/x" in virt.virsh("pool-dumpxml", "berth-taken")


# ---- SAN ----

@pytest.fixture
def san(virt):
    with San(virt, virt.dir / "san", (64, 32)) as target:
        yield target


def test_guest_uses_a_lun_of_a_san(api, virt, san):
    san_pool(api, san)
    wait_pool(api, "san", "ok")
    api.act("POST", "/pools/san/volumes", {"name": "lun", "existing_file": "unit:0:0:1", "format": "raw"})
    volume = api.get("/pools/san/volumes/lun")
    assert volume["chain"][0]["path"] == f"{san.target}/1"
    api.act("POST", "/vms", with_disk("g", "san", "lun"))
    agent = GuestAgent(virt, "g")
    agent.wait_ready()
    assert int(agent.run("disks")["vda.size"]) == 64 * MIB
    write_and_read(agent)
    with open(san.lun_file(1), "rb") as file:
        assert any(file.read(1 << 20))
    api.act("DELETE", "/vms/g?force=true&delete_disks=true")
    assert san.lun_file(1).stat().st_size == 64 * MIB  # what Berth did not make it does not delete


def time_of(api, path):
    started = time.monotonic()
    api.get(path)
    return time.monotonic() - started


def outage(api, virt, san, seconds, break_it, mend):
    """While the SAN is away the default pool works as ever; the SAN's says since when it is away, and comes back."""
    san_pool(api, san)
    wait_pool(api, "san", "ok")
    break_it()
    ends = time.monotonic() + seconds
    away = wait_until(lambda: (lambda h: h if h["state"] != "ok" else None)(host_of(api, "san")), 40, "it shows")
    assert away["state"] in ("unknown", "error") and away["reason"] and away["since"]
    n = 0
    while n < 3 or time.monotonic() < ends:
        n += 1
        started = time.monotonic()
        api.act("POST", "/pools/default/volumes", {"name": f"v{n}", "size_bytes": MIB})
        api.act("DELETE", f"/pools/default/volumes/v{n}")
        assert time.monotonic() - started < 8
        assert host_of(api, "default")["state"] == "ok" and time_of(api, "/pools/san") < 2
        assert api.get("/hosts/h1")["state"] == "ok"
    again = host_of(api, "san")
    assert again["state"] != "ok" and again["since"] >= away["since"]
    mend()
    wait_pool(api, "san", "ok", 60)
    assert "berth-san" in virt.virsh("pool-list", "--name").split()


def test_a_silent_san_delays_no_other_pool_and_comes_back(api, virt, san):
    outage(api, virt, san, 2, san.pause, san.resume)


def test_a_stopped_san_is_an_error_and_comes_back(api, virt, san):
    outage(api, virt, san, 2, san.stop, san.start)


@pytest.mark.long
def test_a_san_away_for_a_minute_delays_no_other_pool(api, virt, san):
    outage(api, virt, san, 60, san.pause, san.resume)
    api.act("DELETE", "/pools/san")
    outage(api, virt, san, 60, san.stop, san.start)


def test_a_san_with_a_password_needs_it_and_keeps_it_secret(api, virt, scratch):
    password = "correct-horse-1"
    with San(virt, virt.dir / "chap", (16,), chap=("berth", password)) as san:
        refused = api.request("POST", "/pools?wait=60", {
            "name": "none", "kind": "iscsi-direct",
            "source": {"hosts": [san.address], "device": san.target, "initiator": san.initiator}})
        assert refused.status >= 400 or refused.json["state"] == "failed", refused
        san_pool(api, san, user="berth", secret=password)
        wait_pool(api, "san", "ok")
        assert password not in api.request("GET", "/pools/san").text
        assert password not in pathlib.Path(scratch, "berthd.log").read_text()
        assert virt.virsh("secret-list").strip()
        api.act("DELETE", "/pools/san")
        assert not virt.virsh("secret-list").strip()


# ---- Ceph ----

@pytest.mark.long
def test_guest_uses_a_volume_in_ceph(api, virt):
    with Ceph(virt, virt.dir / "ceph") as ceph:
        api.act("POST", "/pools", {"name": "ceph", "kind": "rbd", "source": {
            "hosts": [ceph.monitor], "name": ceph.pool, "user": ceph.user, "secret": ceph.key}})
        wait_pool(api, "ceph", "ok")
        api.act("POST", "/pools/ceph/volumes", {"name": "v", "size_bytes": 32 * MIB})
        volume = api.get("/pools/ceph/volumes/v")
        image = volume["chain"][0]["file"]
        assert volume["format"] == "raw" and ceph.rbd("ls", ceph.pool).split() == [image]
        api.act("POST", "/vms", with_disk("g", "ceph", "v"))
        agent = GuestAgent(virt, "g")
        agent.wait_ready()
        wanted = write_and_read(agent)
        api.act("POST", "/pools/ceph/volumes/v/resize", {"size_bytes": 48 * MIB})
        wait_until(lambda: int(agent.run("disks")["vda.size"]) == 48 * MIB, 30, "the guest sees the new size")
        assert agent.run("disk-hash", "vda", 0, 1 << 20)["sha256"] == wanted
        assert ceph.key not in virt.log_dir.joinpath("libvirtd.log").read_text(errors="replace")
        api.act("DELETE", "/vms/g?force=true")
        api.act("DELETE", "/pools/ceph/volumes/v")
        assert ceph.rbd("ls", ceph.pool).split() == []
        api.act("DELETE", "/pools/ceph")


# ---- NAS ----

@pytest.mark.long
def test_a_volume_made_through_one_host_is_used_on_another(scratch):
    with Fleet(2, os.path.join(scratch, "f")) as fleet, \
            SharedFolder(fleet, os.path.join(scratch, "g")) as nas, \
            daemon_for(fleet.hosts, scratch, *OFTEN) as daemon:
        api = daemon.local
        for index, name in enumerate(("h1", "h2")):
            add_host(api, name, fleet.tcp_uri(index))
        api.act("POST", "/pools", {"name": "nas", "kind": "dir", "shared": True, "path": str(nas.path / "berth")})
        for name in ("h1", "h2"):
            wait_pool(api, "nas", "ok", host=name)
        api.act("POST", "/pools/nas/volumes", {"name": "v", "size_bytes": 32 * MIB})
        assert api.get("/pools/nas/volumes/v")["host"] is None
        hashes = {}
        for index, name in enumerate(("h1", "h2")):
            api.act("POST", "/vms", with_disk(f"g{index}", "nas", "v", host=name))
            agent = GuestAgent(fleet.hosts[index], f"g{index}")
            agent.wait_ready()
            if index == 0:
                hashes[name] = write_and_read(agent)
            else:
                hashes[name] = agent.run("disk-hash", "vda", 0, 1 << 20)["sha256"]
            assert list(fleet.hosts[index].qemu_pids()) == [f"g{index}"]
            api.act("DELETE", f"/vms/g{index}?force=true&delete_disks=false")
        assert hashes["h1"] == hashes["h2"]
        api.act("DELETE", "/pools/nas/volumes/v")
        wait_until(lambda: not list((nas.path / "berth").glob("*")), 10, "the file is gone")


@pytest.mark.long
def test_guest_uses_a_file_on_nfs_that_only_qemu_reaches(api, virt):
    with NfsServer(virt, virt.dir / "nfs") as nfs:
        with open(nfs.export / "disk.raw", "wb") as file:
            file.truncate(32 * MIB)
        api.act("POST", "/pools", {"name": "nfs", "kind": "nfs-direct",
                                   "source": {"hosts": [nfs.server], "dir": str(nfs.export)}})
        api.act("POST", "/pools/nfs/volumes", {"name": "v", "existing_file": "disk.raw", "format": "raw",
                                               "size_bytes": 32 * MIB})
        api.act("POST", "/vms", with_disk("g", "nfs", "v"))
        agent = GuestAgent(virt, "g")
        agent.wait_ready()
        assert int(agent.run("disks")["vda.size"]) == 32 * MIB
        write_and_read(agent)
        with open(nfs.export / "disk.raw", "rb") as file:
            assert any(file.read(1 << 20))
        # Berth makes no files there: the snapshot's lie in the default pool.
        content = agent.run("disk-hash", "vda", 0, 32 * MIB)["sha256"]
        api.act("POST", "/vms/g/snapshots", {"name": "s", "memory": True})
        assert len(api.get("/pools/nfs/volumes/v")["chain"]) == 2
        agent.run("disk-write", "vda", 0, 1 << 20, 9)
        api.act("POST", "/vms/g/snapshots/s/revert", {})
        agent.wait_ready()
        assert agent.run("disk-hash", "vda", 0, 32 * MIB)["sha256"] == content
        agent.run("disk-write", "vda", 0, 1 << 20, 10)
        content = agent.run("disk-hash", "vda", 0, 32 * MIB)["sha256"]
        api.act("DELETE", "/vms/g/snapshots/s")
        assert len(api.get("/pools/nfs/volumes/v")["chain"]) == 1
        assert agent.run("disk-hash", "vda", 0, 32 * MIB)["sha256"] == content
        api.act("DELETE", "/vms/g?force=true")
        assert hashlib.sha256((nfs.export / "disk.raw").read_bytes()).hexdigest() == content


# ---- what this machine's kernel lacks ----

def test_kinds_that_need_the_kernel_are_defined_and_shown(scratch):
    with Berthd(scratch, "--no-local-host", *OFTEN) as daemon:
        api = daemon.local
        add_host(api, "t", "test:///default")
        for name, body in (
                ("lvm", {"kind": "logical", "source": {"name": "vg0"}}),
                ("zfs", {"kind": "zfs", "source": {"name": "tank"}}),
                ("nas", {"kind": "netfs", "path": "/srv/nas",
                         "source": {"hosts": ["nas.example"], "dir": "/export", "format": "nfs"}})):
            api.act("POST", "/pools", {"name": name, **body})
            wait_pool(api, name, "ok", host="t")
            shown = api.get(f"/pools/{name}")
            assert shown["kind"] == body["kind"]
            assert all(shown["source"][key] == value for key, value in body["source"].items())
            api.act("POST", f"/pools/{name}/volumes", {"name": "v", "size_bytes": 8 * MIB})
            assert api.get(f"/pools/{name}/volumes/v")["state"] == "ready"
            api.act("DELETE", f"/pools/{name}/volumes/v")
            api.act("DELETE", f"/pools/{name}")
