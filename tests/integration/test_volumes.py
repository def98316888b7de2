# SPDX-License-Identifier: Apache-2.0
"""Volumes on real libvirt and QEMU: what is made, grown, cloned, wiped and deleted, as seen from outside by qemu-img."""
import concurrent.futures
import ctypes
import http.client
import json
import os
import re
import subprocess

import pytest

from conftest import MIB, add_host, daemon_for, guest_vm, wait_guest_ready
from disks import start_with_host
from faults import points
from lab import GuestAgent, wait_until

VOLUMES = "/pools/default/volumes"


def tool(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}"
    return done.stdout


def image_info(path, kind):
    return json.loads(tool("qemu-img", "info", "-U", "-f", kind, "--output=json", path))


def make(api, name, kind="qcow2", size=64 * MIB, **more):
    api.act("POST", VOLUMES, {"name": name, "format": kind, "size_bytes": size, **more})
    return api.get(f"{VOLUMES}/{name}")


def path_of(volume):
    return volume["chain"][0]["path"]


def write(volume, *patterns):
    """Writes (byte, offset, length) patterns through the recorded formats."""
    for byte, offset, length in patterns:
        tool("qemu-io", "-f", volume["format"], "-c", f"write -P {byte} {offset} {length}", path_of(volume))


def files(virt):
    pool = virt.images_dir / "pool"
    return {f for f in os.listdir(pool) if re.match(r"[0-9a-f-]{36}\.", f)} if pool.exists() else set()


def carriers(virt):
    return [name for name in virt.virsh("list", "--all", "--name").split() if name.startswith("berth-job-")]


def check_no_orphans(api, virt):
    """Each file belongs to a layer and the other way round, and no carrier is left."""
    wait_until(lambda: all(o["ended_at"] for o in api.get("/operations?page_size=1000")["items"]), 90,
               "all operations have ended")
    volumes = api.get(f"{VOLUMES}?page_size=1000")["items"]
    assert all(v["state"] == "ready" for v in volumes), volumes
    assert files(virt) == {layer["file"] for v in volumes for layer in v["chain"]}
    wait_until(lambda: carriers(virt) == [], 10, "no carrier is left")


def compare(one, other):
    tool("qemu-img", "compare", "-f", one["format"], "-F", other["format"], path_of(one), path_of(other))


def problem(api, method, path, body=None, status=409):
    answer = api.request(method, path, body)
    assert answer.status == status, answer
    return answer.json


def refused(api, volume, name):
    """Whatever would change the volume's bytes is refused, naming who stands on it."""
    for verb, body in (("resize", {"size_bytes": 1024 * MIB}), ("wipe", None)):
        assert name in problem(api, "POST", f"{VOLUMES}/{volume}/{verb}", body)["detail"]
    assert name in problem(api, "DELETE", f"{VOLUMES}/{volume}")["detail"]


# ---- making ----

def test_volumes_are_made_thin_and_full_in_both_formats(real, virt):
    api = real.local
    for kind in ("raw", "qcow2"):
        thin, full = make(api, f"thin-{kind}", kind), make(api, f"full-{kind}", kind, allocation="full")
        for volume in (thin, full):
            info = image_info(path_of(volume), kind)
            assert info["virtual-size"] == 64 * MIB and "backing-filename" not in info
            assert os.stat(path_of(volume)).st_mode & 0o777 == 0o600
            assert [(c["file"], c["format"]) for c in volume["chain"]] == [(f"{volume['id']}.{kind}", kind)]
        taken = [os.stat(path_of(v)).st_blocks * 512 for v in (thin, full)]
        assert taken[0] < 2 * MIB and taken[1] >= 64 * MIB, taken
    assert api.get(f'{VOLUMES}?filter=format%20eq%20"raw"')["items"][0]["format"] == "raw"
    assert "shrink" in problem(api, "POST", f"{VOLUMES}/thin-raw/resize", {"size_bytes": 32 * MIB}, 400)["detail"]
    for volume in ("thin-raw", "full-raw", "thin-qcow2", "full-qcow2"):
        api.act("DELETE", f"{VOLUMES}/{volume}")
    check_no_orphans(api, virt)
    assert files(virt) == set()


# ---- clones ----

def test_full_clone_has_the_same_bytes_in_any_format_and_size(real, virt):
    api = real.local
    source = make(api, "source")
    write(source, (0x11, 0, "1M"), (0x22, "17M", "3M"), (0x33, "63M", "1M"))
    for name, more in (("same", {}), ("raw", {"format": "raw"}), ("larger", {"size_bytes": 96 * MIB})):
        api.act("POST", f"{VOLUMES}/source/clone", {"name": name, **more})
        clone = api.get(f"{VOLUMES}/{name}")
        assert clone["format"] == more.get("format", "qcow2") and len(clone["chain"]) == 1
        info = image_info(path_of(clone), clone["format"])
        assert info["virtual-size"] == clone["size_bytes"] == more.get("size_bytes", 64 * MIB)
        assert "backing-filename" not in info
        compare(source, clone)
        assert os.stat(path_of(clone)).st_blocks * 512 < 16 * MIB  # what was never written takes no room
    check_no_orphans(api, virt)


def test_linked_clone_reads_its_source_and_guards_it(real, virt):
    api = real.local
    source = make(api, "source", "raw")
    write(source, (0x11, 0, "1M"))
    api.act("POST", f"{VOLUMES}/source/clone", {"name": "leaf", "mode": "linked", "size_bytes": 80 * MIB})
    leaf = api.get(f"{VOLUMES}/leaf")
    assert [c["format"] for c in leaf["chain"]] == ["qcow2", "raw"] and leaf["size_bytes"] == 80 * MIB
    info = image_info(path_of(leaf), "qcow2")
    assert info["full-backing-filename"] == path_of(source) and info["backing-filename-format"] == "raw"
    tool("qemu-io", "-f", "qcow2", "-c", "read -P 0x11 0 1M", path_of(leaf))
    refused(api, "source", "leaf")
    body = guest_vm("g", disks={"d": {"volume": "source"}}, desired_power="stopped")
    assert "leaf" in problem(api, "POST", "/vms", body)["detail"]
    write(leaf, (0x44, "2M", "1M"))
    api.act("POST", f"{VOLUMES}/leaf/clone", {"name": "flat"})  # the whole chain becomes one file
    flat = api.get(f"{VOLUMES}/flat")
    assert len(flat["chain"]) == 1
    compare(leaf, flat)
    api.act("DELETE", f"{VOLUMES}/leaf")
    api.act("DELETE", f"{VOLUMES}/source")
    compare(flat, flat)
    check_no_orphans(api, virt)


def test_clones_may_lie_in_another_pool_and_say_so(real, virt):
    api = real.local
    other = virt.images_dir / "other"
    api.act("POST", "/pools", {"name": "other", "kind": "dir", "path": str(other)})
    source = make(api, "source")
    write(source, (0x11, 0, "1M"))
    for mode in ("full", "linked"):
        api.act("POST", f"{VOLUMES}/source/clone", {"name": mode, "mode": mode, "pool": "other"})
        clone = api.get(f"/pools/other/volumes/{mode}")
        assert clone["chain"][0]["path"] == f"{other}/{clone['id']}.qcow2"
        assert [c["pool"] for c in clone["chain"]] == ["other", "default"][:len(clone["chain"])]
        compare(source, clone)
    refused(api, "source", "linked")
    for mode in ("full", "linked"):
        api.act("DELETE", f"/pools/other/volumes/{mode}")
    api.act("DELETE", f"{VOLUMES}/source")
    assert os.listdir(other) == []
    check_no_orphans(api, virt)


def test_volume_of_a_shared_pool_is_on_no_host(fake):
    api = fake.local
    api.act("POST", "/pools", {"name": "san", "kind": "dir", "path": "/shared/san", "shared": True})
    api.act("POST", "/pools/san/volumes", {"name": "data", "size_bytes": 64 * MIB})
    api.act("POST", "/pools/san/volumes/data/clone", {"name": "copy"})
    for name in ("data", "copy"):
        assert api.get(f"/pools/san/volumes/{name}")["host"] is None
    api.act("POST", "/pools/san/volumes/data/resize", {"size_bytes": 96 * MIB})
    api.act("POST", "/pools/san/volumes/data/wipe")
    assert api.get("/pools/san/volumes/data?host=h1")["size_bytes"] == 96 * MIB
    api.act("DELETE", "/pools/san/volumes/data")


def test_requests_that_cannot_be_are_refused_at_once(fake):
    api = fake.local
    assert problem(api, "POST", VOLUMES, {"name": "x"}, 400)["errors"][0]["pointer"] == "/size_bytes"
    for file in ("../x", "a/b", ".hidden"):
        body = {"name": "x", "size_bytes": MIB, "existing_file": file}
        assert problem(api, "POST", VOLUMES, body, 400)["errors"][0]["pointer"] == "/existing_file"
    problem(api, "POST", VOLUMES, {"name": "x", "size_bytes": MIB, "existing_file": "y.raw"}, 422)
    problem(api, "POST", f"{VOLUMES}/none/clone", {"name": "x"}, 404)
    api.act("POST", VOLUMES, {"name": "data", "size_bytes": MIB})
    for body in ({"name": "x", "mode": "half"}, {"name": "x", "size_bytes": MIB + 1}, {"name": "X"}):
        problem(api, "POST", f"{VOLUMES}/data/clone", body, 400)
    dry = api.ok("POST", f"{VOLUMES}/data/clone?dry_run=true", {"name": "x"})
    assert dry.json["kind"] == "volume.clone"
    assert [v["name"] for v in api.get(VOLUMES)["items"]] == ["data"]


# ---- growing ----

def test_offline_volumes_grow_and_keep_what_is_in_them(real, virt):
    api = real.local
    for kind in ("raw", "qcow2"):
        volume = make(api, kind, kind)
        write(volume, (0x55, 0, "1M"))
        api.act("POST", f"{VOLUMES}/{kind}/resize", {"size_bytes": 128 * MIB})
        assert api.get(f"{VOLUMES}/{kind}")["size_bytes"] == 128 * MIB
        assert image_info(path_of(volume), kind)["virtual-size"] == 128 * MIB
        tool("qemu-io", "-f", kind, "-c", "read -P 0x55 0 1M", "-c", "read -P 0 127M 1M", path_of(volume))
    check_no_orphans(api, virt)


def test_running_guest_sees_the_new_size(real, virt):
    api = real.local
    api.act("POST", "/vms", guest_vm("g", disks={"d": {"size_bytes": 64 * MIB}}))
    wait_guest_ready(api, "g")
    agent = GuestAgent(virt, "g")
    agent.wait_ready()
    volume = api.get(f"{VOLUMES}?filter=disk%20eq%20%22d%22")["items"][0]
    assert volume["vm_name"] == "g"
    busy = problem(api, "POST", f"{VOLUMES}/{volume['name']}/clone", {"name": "copy"})
    assert busy["code"] == "in_use" and "snapshot" in busy["hint"]
    api.act("POST", f"{VOLUMES}/{volume['name']}/resize", {"size_bytes": 96 * MIB})
    wait_until(lambda: str(agent.run("disks").get("vda.size")) == str(96 * MIB), 20, "the guest sees it")
    api.act("POST", "/vms/g/stop")
    api.act("POST", f"{VOLUMES}/{volume['name']}/clone", {"name": "copy"})
    compare(api.get(f"{VOLUMES}/{volume['name']}"), api.get(f"{VOLUMES}/copy"))
    check_no_orphans(api, virt)


# ---- what a guest writes is never a header ----

class Opened:
    """Whether anybody opens a file meanwhile (inotify)."""

    IN_OPEN = 0x20

    def __init__(self, path):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self.libc.inotify_add_watch(self.fd, str(path).encode(), self.IN_OPEN) >= 0

    def seen(self):
        try:
            return len(os.read(self.fd, 65536)) > 0
        except BlockingIOError:
            return False

    def close(self):
        os.close(self.fd)


def test_header_in_a_raw_volume_is_only_bytes(scratch, real, virt):
    api = real.local
    canary = virt.images_dir / "canary"
    canary.write_bytes(b"THE CANARY SINGS " * 4096)
    volume = make(api, "raw", "raw", 16 * MIB)
    header = os.path.join(scratch, "header.qcow2")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(canary), "-F", "raw", header, "16M")
    with open(header, "rb") as source, open(path_of(volume), "r+b") as target:
        target.write(source.read())
    with open(path_of(volume), "rb") as source:
        written = source.read()
    watch = Opened(canary)
    try:
        api.act("POST", f"{VOLUMES}/raw/resize", {"size_bytes": 32 * MIB})
        for kind in ("raw", "qcow2"):
            api.act("POST", f"{VOLUMES}/raw/clone", {"name": f"copy-{kind}", "format": kind})
        api.act("POST", f"{VOLUMES}/raw/clone", {"name": "leaf", "mode": "linked"})
        assert not watch.seen(), "the file that the header names was opened"
    finally:
        watch.close()
    grown = api.get(f"{VOLUMES}/raw")
    assert (grown["format"], grown["size_bytes"], grown["drift"]) == ("raw", 32 * MIB, "")
    expected = written + bytes(16 * MIB)
    for name, kind in (("raw", "raw"), ("copy-raw", "raw"), ("copy-qcow2", "qcow2"), ("leaf", "qcow2")):
        flat = os.path.join(scratch, name)
        layers = api.get(f"{VOLUMES}/{name}")["chain"]
        assert layers[0]["format"] == kind
        tool("qemu-img", "convert", "-f", kind, "-O", "raw", layers[0]["path"], flat)
        with open(flat, "rb") as copy:
            assert copy.read() == expected, name
    check_no_orphans(api, virt)


# ---- wiping, deleting, running full ----

def test_wiped_volume_reads_as_zeroes(real, virt):
    api = real.local
    for kind in ("raw", "qcow2"):
        volume = make(api, kind, kind, 8 * MIB)
        write(volume, (0x77, 0, "8M"))
        api.act("POST", f"{VOLUMES}/{kind}/wipe")
        volume = api.get(f"{VOLUMES}/{kind}")
        tool("qemu-io", "-f", kind, "-c", "read -P 0 0 8M", path_of(volume))
        assert image_info(path_of(volume), kind)["virtual-size"] == 8 * MIB
        api.act("POST", f"{VOLUMES}/{kind}/resize", {"size_bytes": 16 * MIB})  # it has not drifted
    source = make(api, "source", "raw", 8 * MIB)
    write(source, (0x77, 0, "8M"))
    api.act("POST", f"{VOLUMES}/source/clone", {"name": "leaf", "mode": "linked"})
    api.act("POST", f"{VOLUMES}/leaf/wipe")
    leaf = api.get(f"{VOLUMES}/leaf")
    assert len(leaf["chain"]) == 1
    tool("qemu-io", "-f", "qcow2", "-c", "read -P 0 0 8M", path_of(leaf))
    tool("qemu-io", "-f", "raw", "-c", "read -P 0x77 0 8M", path_of(source))
    api.act("DELETE", f"{VOLUMES}/source")
    check_no_orphans(api, virt)


def in_host(virt, *words):
    return tool("nsenter", "-m", "-t", str(virt.libvirtd_pid()), *words)


def test_full_pool_is_told_and_leaves_nothing_half_made(real, virt):
    api = real.local
    small = virt.images_dir / "small"
    small.mkdir()
    in_host(virt, "mount", "-t", "tmpfs", "-o", "size=48m", "none", str(small))
    api.act("POST", "/pools", {"name": "small", "kind": "dir", "path": str(small)})
    source = make(api, "source", "raw")
    write(source, (0x66, 0, "64M"))
    for body in ({"name": "copy"}, {"name": "copy", "format": "qcow2"}):
        answer = api.ok("POST", f"{VOLUMES}/source/clone?wait=60", {**body, "pool": "small"}).json
        assert answer["state"] == "failed" and answer["error"]["code"] == "disk_full", answer
        assert in_host(virt, "ls", str(small)) == ""
    assert api.get("/pools/small/volumes")["items"] == []
    refusal = api.request("POST", "/pools/small/volumes?wait=60",
                          {"name": "full", "format": "raw", "size_bytes": 64 * MIB, "allocation": "full"})
    code = refusal.json["code"] if refusal.status == 507 else refusal.json["error"]["code"]
    assert code == "disk_full", refusal
    fits = {"name": "fits", "format": "raw", "size_bytes": 16 * MIB, "allocation": "full"}
    api.act("POST", "/pools/small/volumes", fits)
    api.act("DELETE", "/pools/small/volumes/fits")
    assert in_host(virt, "ls", str(small)) == ""
    check_no_orphans(api, virt)


# ---- kill -9 ----

WORK = {"clone": ("clone", {"name": "copy"}), "linked": ("clone", {"name": "copy", "mode": "linked"}), "resize": ("resize", {})}
FAULTS = [(work, fault) for work, (verb, _) in WORK.items() for fault in points(f"volume.{verb}")]
QUICK = {("clone", "volume.clone/file:after"), ("clone", "volume.clone/copy:before"), ("clone", "volume.clone/copy:after"),
         ("resize", "volume.resize/grow:after")}


def die_in(daemon, fault, path, body):
    """Asks for work during which the daemon kills itself; answers the operation's id if that was heard."""
    start_with_host(daemon, fault)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(daemon.local.request, "POST", path, body)
        daemon.process.wait(60)
        assert daemon.process.returncode == -9
        try:
            return asked.result(60).json["id"]
        except (OSError, http.client.HTTPException):
            return None


@pytest.mark.parametrize("work,fault", [pytest.param(*f, marks=() if f in QUICK else pytest.mark.long) for f in FAULTS])
def test_killed_at_each_step_the_work_is_finished_afterwards(scratch, virt, work, fault):
    verb, more = WORK[work]
    daemon = daemon_for([virt], scratch).start()
    add_host(daemon.local, "h1", virt.uri)
    source = make(daemon.local, "source")
    write(source, (0x11, 0, "4M"), (0x22, "60M", "4M"))
    daemon.stop()
    operation = die_in(daemon, fault, f"{VOLUMES}/source/{verb}", {"size_bytes": 96 * MIB, **more})
    daemon.start()
    api = daemon.local
    wait_until(lambda: api.get("/hosts/h1")["state"] == "ok", 60, "the host is up")
    if operation:
        assert api.operation(operation)["state"] == "succeeded"
    check_no_orphans(api, virt)
    made = api.get(f"{VOLUMES}/{more.get('name', 'source')}")
    assert len(made["chain"]) == (2 if work == "linked" else 1)
    assert made["size_bytes"] == image_info(path_of(made), "qcow2")["virtual-size"] == 96 * MIB
    for volume in (made, source):
        tool("qemu-img", "check", "-q", "-f", "qcow2", path_of(volume))
        tool("qemu-io", "-f", "qcow2", "-c", "read -P 0x11 0 4M", "-c", "read -P 0x22 60M 4M", path_of(volume))
    daemon.stop()


@pytest.mark.long
@pytest.mark.parametrize("fault", ["volume.clone/carrier:undo", "volume.clone/carrier:undone", "volume.clone/file:undo",
                                   "volume.clone/file:undone"])
def test_killed_while_undoing_it_is_undone_afterwards(scratch, virt, fault):
    daemon = daemon_for([virt], scratch).start()
    add_host(daemon.local, "h1", virt.uri)
    small = virt.images_dir / "small"
    small.mkdir()
    in_host(virt, "mount", "-t", "tmpfs", "-o", "size=32m", "none", str(small))
    daemon.local.act("POST", "/pools", {"name": "small", "kind": "dir", "path": str(small)})
    source = make(daemon.local, "source", "raw")
    write(source, (0x66, 0, "64M"))
    daemon.stop()
    operation = die_in(daemon, fault, f"{VOLUMES}/source/clone", {"name": "copy", "pool": "small"})
    daemon.start()
    api = daemon.local
    wait_until(lambda: api.get("/hosts/h1")["state"] == "ok", 60, "the host is up")
    assert operation and api.operation(operation)["error"]["code"] == "disk_full"
    check_no_orphans(api, virt)
    assert api.get("/pools/small/volumes")["items"] == [] and in_host(virt, "ls", str(small)) == ""
    daemon.stop()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
@pytest.mark.parametrize("fault", points("volume.wipe"))
def test_killed_while_wiping_it_is_wiped_afterwards(scratch, virt, kind, fault):
    daemon = daemon_for([virt], scratch).start()
    add_host(daemon.local, "h1", virt.uri)
    volume = make(daemon.local, "data", kind, 8 * MIB)
    write(volume, (0x66, 0, "8M"))
    daemon.stop()
    die_in(daemon, fault, f"{VOLUMES}/data/wipe", None)
    start_with_host(daemon)
    check_no_orphans(daemon.local, virt)
    volume = daemon.local.get(f"{VOLUMES}/data")
    tool("qemu-io", "-f", kind, "-c", "read -P 0 0 8M", path_of(volume))
    daemon.stop()
