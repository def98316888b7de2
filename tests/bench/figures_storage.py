# SPDX-License-Identifier: Apache-2.0
"""Figures of storage: clones, moves, merges, imports and snapshots, each beside the tool that does the same alone."""
import os
import re
import subprocess
import threading
import time
import uuid

from figures_host import DOMAIN
from measure import BERTHD, MIB, Berthd, median, wait_until
from lab import GuestAgent, PrivateLibvirt, build_guest

ROUNDS = 3
DATA_MIB = 1024
QEMU_IMG = ["qemu-img", "convert", "-t", "none", "-T", "none"]


class Storage:
    """berthd as released on a real host, with the test guest at hand."""

    def __init__(self, scratch):
        self.virt = PrivateLibvirt(os.path.join(scratch, "v"))
        self.scratch = scratch

    def __enter__(self):
        kernel, self.initrd = build_guest()
        self.kernel = kernel
        self.virt.start()
        self.pool = self.virt.images_dir / "pool"
        self.daemon = Berthd(os.path.join(self.scratch, "b"), "--no-local-host", "--set", "log_level=info",
                             "--set", f"guests.boot_directories={kernel.parent}",
                             "--set", f"guests.console_directory={self.virt.log_dir}",
                             "--set", f"storage.pool_path={self.pool}", binary=BERTHD)
        self.daemon.start()
        self.api = self.daemon.local
        self.api.ok("POST", "/hosts", {"name": "h1", "uri": self.virt.uri})
        wait_until(lambda: self.api.get("/hosts/h1")["state"] == "ok", 60, "the host is up")
        return self

    def __exit__(self, *_):
        self.daemon.stop()
        self.virt.stop()

    def act(self, method, path, body=None, **more):
        return self.api.act(method, path, body, wait=300, **more)

    def vm(self, name, disks, **more):
        return {"name": name, "memory": {"size_bytes": 128 * MIB}, "cpu": {"model": "maximum"}, "disks": disks,
                "boot": {"kernel": str(self.kernel), "initrd": str(self.initrd), "cmdline": "console=ttyS0 quiet panic=-1"},
                "desired_power": "running", **more}

    def path(self, volume):
        return self.api.get(f"/pools/default/volumes/{volume}")["chain"][0]["path"]

    def console_size(self, name):
        try:
            return os.path.getsize(self.console(name))
        except OSError:
            return 0

    def console(self, name):
        return self.virt.log_dir / f"berth-{self.api.get(f'/vms/{name}')['id']}.console.log"


def timed(work):
    started = time.monotonic()
    work()
    return time.monotonic() - started


def run(*words):
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def random_file(path, mib):
    with open(path, "wb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
        os.fsync(out.fileno())


def upload(storage, name, path, wait=300):
    """By curl, as a user would: Python's own client is the slower side."""
    url = f"http://berth/api/v1/images/{name}/content?wait={wait}"
    run("curl", "-sf", "--unix-socket", storage.daemon.socket, "-H", "Content-Type: application/octet-stream", "-T", path, url)


def bench_import(report, scratch):
    """An image of 1 GiB from the first byte to `ready`, beside a copy and a hash of the same file."""
    with Storage(scratch) as storage:
        raw, qcow2 = (os.path.join(scratch, f"image.{kind}") for kind in ("raw", "qcow2"))
        random_file(raw, DATA_MIB)
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
        for kind, path in (("raw", raw), ("qcow2", qcow2)):
            ours, floor = [], []
            for i in range(ROUNDS):
                copy = os.path.join(scratch, "copy")
                floor.append(timed(lambda p=path, c=copy: (run("cp", p, c), run("sync", c), run("sha256sum", c))))
                os.unlink(copy)
                storage.api.ok("POST", "/images", {"name": f"{kind}{i}", "format": kind})
                ours.append(timed(lambda k=kind, n=i, p=path: upload(storage, f"{k}{n}", p)))
                assert storage.api.get(f"/images/{kind}{i}")["state"] == "ready"
                storage.act("DELETE", f"/images/{kind}{i}")
            report.line(f"import of a {kind} image of 1 GiB", median(ours), "s", floor=median(floor), digits=2)


def bench_clone(report, scratch):
    """A full clone beside qemu-img convert with the same cache mode; a linked clone until its guest speaks."""
    with Storage(scratch) as storage:
        random_file(os.path.join(scratch, "data"), DATA_MIB)
        storage.act("POST", "/pools/default/volumes", {"name": "source", "size_bytes": 2 * DATA_MIB * MIB})
        source = storage.path("source")
        fill_volume(storage, source, os.path.join(scratch, "data"))
        ours, floor = [], []
        for i in range(ROUNDS):
            copy = os.path.join(scratch, "copy.qcow2")
            floor.append(timed(lambda c=copy: run(*QEMU_IMG, "-f", "qcow2", "-O", "qcow2", source, c)))
            os.unlink(copy)
            ours.append(timed(lambda n=i: storage.act("POST", "/pools/default/volumes/source/clone",
                                                      {"name": f"full{n}", "mode": "full"})))
            run("qemu-img", "compare", source, storage.path(f"full{i}"))
            storage.act("DELETE", f"/pools/default/volumes/full{i}")
        report.line("full clone of 1 GiB", median(ours), "s", floor=median(floor), digits=2,
                    aim=lambda value, least: value <= 1.1 * least, aim_text="<= 1.1 x qemu-img convert")
        bench_linked(report, storage, scratch)


def fill_volume(storage, target, data):
    """The volume's file is written from outside, at rest."""
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", data, target)
    assert storage.api.get("/pools/default/volumes/source")["drift"] == ""


def bench_linked(report, storage, scratch):
    image = os.path.join(scratch, "image")
    random_file(image, 64)
    storage.api.ok("POST", "/images", {"name": "small", "format": "raw"})
    upload(storage, "small", image)
    storage.act("POST", "/vms", storage.vm("first", {"root": {"image": "small"}}))  # makes the image's copy in the pool
    ours, floor = [], []
    for i in range(ROUNDS):
        started = time.monotonic()
        storage.act("POST", "/vms", storage.vm(f"linked{i}", {"root": {"image": "small"}}))
        wait_until(lambda n=i: storage.console_size(f"linked{n}") > 0, 60, "the guest speaks")
        ours.append(time.monotonic() - started)
        storage.act("POST", f"/vms/linked{i}/stop")
        xml = storage.virt.virsh("dumpxml", "--inactive", f"linked{i}")
        log = storage.console(f"linked{i}")
        os.truncate(log, 0)
        floor.append(timed(lambda n=i, text=xml, path=log: start_plainly(storage.virt, f"linked{n}", text, path)))
        storage.act("DELETE", f"/vms/linked{i}?force=true&delete_disks=true")
    report.line("linked clone until its guest speaks", median(ours), "s", floor=median(floor), digits=2)


def start_plainly(virt, name, xml, log):
    path = virt.dir / "plain.xml"
    path.write_text(xml)
    virt.virsh("define", path)
    virt.virsh("start", name)
    wait_until(lambda: os.path.getsize(log) > 0, 60, "the guest speaks")


def bench_move(report, scratch):
    """A running guest's disk with 1 GiB of data to another pool, beside virsh blockcopy of the same disk."""
    with Storage(scratch) as storage:
        second = storage.virt.images_dir / "second"
        storage.act("POST", "/pools", {"name": "second", "kind": "dir", "path": str(second)})
        storage.act("POST", "/vms", storage.vm("g", {"data": {"size_bytes": 2 * DATA_MIB * MIB}}, desired_power="stopped"))
        random_file(os.path.join(scratch, "data"), DATA_MIB)
        volume = storage.api.get("/vms/g")["disks"]["data"]["volume"]
        run("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", os.path.join(scratch, "data"), storage.path(volume))
        storage.act("POST", "/vms/g/start")
        ours, floor = [], []
        for pool in ("second", "default", "second"):
            copy = storage.virt.images_dir / "copy.qcow2"
            run("qemu-img", "create", "-q", "-f", "qcow2", copy, f"{2 * DATA_MIB}M")
            xml = storage.virt.dir / "copy.xml"
            xml.write_text(f"<disk type='file'><driver type='qcow2' discard='unmap'/><source file='{copy}'/></disk>")
            floor.append(timed(lambda x=xml: storage.virt.virsh("blockcopy", "g", "vda", "--xml", x, "--reuse-external",
                                                                "--transient-job", "--wait", "--finish", timeout=600)))
            copy.unlink()
            ours.append(timed(lambda p=pool: storage.act("POST", "/vms/g/disks/data/move", {"pool": p})))
        report.line("live move of 1 GiB", median(ours), "s", floor=median(floor), digits=2)
        storage.act("POST", "/vms/g/stop")


def bench_flatten(report, scratch):
    """A running guest's disk is made independent of its image of 1 GiB, beside virsh blockpull of another one's."""
    with Storage(scratch) as storage:
        image = os.path.join(scratch, "image")
        random_file(image, DATA_MIB)
        storage.api.ok("POST", "/images", {"name": "base", "format": "raw"})
        upload(storage, "base", image)
        ours, floor, still = [], [], []
        for i in range(ROUNDS):
            for name in ("g", "rival"):
                storage.act("POST", "/vms", storage.vm(f"{name}{i}", {"root": {"image": "base"}}))
            floor.append(timed(lambda n=i: storage.virt.virsh("blockpull", f"rival{n}", "vda", "--wait", timeout=600)))
            still.append(pause_of(storage.virt, lambda n=i: ours.append(
                timed(lambda: storage.act("POST", f"/vms/g{n}/disks/root/flatten")))))
            for name in ("g", "rival"):
                storage.act("DELETE", f"/vms/{name}{i}?force=true&delete_disks=true")
        report.line("flattening of 1 GiB while the guest runs", median(ours), "s", floor=median(floor), digits=2)
        report.line("flattening: the guest stands still", median(still) * 1e3, "ms")


def pauses(text):
    """Seconds between each "Suspended" and the next "Resumed" of `virsh event --timestamp`."""
    found, since = [], None
    for stamp, what in re.findall(r"^\S+ (\d+:\d+:\d+\.\d+).*?: (Suspended|Resumed)", text, re.M):
        hours, minutes, seconds = stamp.split(":")
        at = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        if what == "Suspended":
            since = at
        elif since is not None:
            found.append(at - since)
            since = None
    return found


def mark(virt, name):
    """A domain that comes and goes at once: its name in the stream of events tells that all before it has arrived."""
    xml = virt.dir / "mark.xml"
    xml.write_text(DOMAIN.format(name=name, uuid=uuid.uuid4(), memory=32))
    virt.virsh("define", xml)
    virt.virsh("undefine", name)


def pause_of(virt, work):
    """How long the guest stood still while work() ran, by libvirt's own events."""
    lines = []
    with subprocess.Popen(["stdbuf", "-oL", "virsh", "-c", virt.uri, "event", "--event", "lifecycle", "--loop", "--timestamp"],
                          stdout=subprocess.PIPE, text=True) as watcher:
        reader = threading.Thread(target=lambda: lines.extend(iter(watcher.stdout.readline, "")))
        reader.start()
        wait_until(lambda: mark(virt, "begin") or any("'begin'" in line for line in lines), 30, "virsh listens")
        work()
        mark(virt, "end")
        wait_until(lambda: any("'end'" in line for line in lines), 30, "all events have come")
        watcher.terminate()
        reader.join()
    return sum(pauses("".join(lines)))


def count_writes(virt):
    return int(re.search(r"wr_req (\d+)", virt.virsh("domblkstat", "g", "vda")).group(1))


def longest_write(virt, agent, work):
    """What a guest that writes all the time saw of work(), in milliseconds."""
    before = count_writes(virt)
    ticks = agent.start("ticks", 4, "vda")
    wait_until(lambda: count_writes(virt) > before + 10, 30, "the guest writes")
    work()
    return int(agent.finish(ticks)["longest_us"]) / 1e3


def bench_disk_snapshot(report, storage, agent):
    """Of the disks alone the guest runs on, but its writes wait: the longest, with a snapshot of ours, virsh's, and without."""
    virt = storage.virt
    ours, floor, calm = [], [], []
    for i in range(5):
        calm.append(longest_write(virt, agent, lambda: None))
        overlay = virt.images_dir / f"s{i}"
        floor.append(longest_write(virt, agent, lambda o=overlay: virt.virsh(
            "snapshot-create-as", "g", "--no-metadata", "--disk-only", "--atomic", "--diskspec", f"vda,file={o}")))
        virt.virsh("blockcommit", "g", "vda", "--active", "--pivot", "--wait")
        ours.append(longest_write(virt, agent, lambda n=i: storage.act("POST", "/vms/g/snapshots", {"name": f"s{n}"})))
        storage.act("DELETE", f"/vms/g/snapshots/s{i}")
    report.line("guest's longest write, no snapshot", median(calm), "ms")
    report.line("guest's longest write, snapshot of disks", median(ours), "ms", floor=median(floor))


def bench_snapshot(report, scratch):
    """Snapshots of a running guest: how long it stands still, how long they take, how long a merge takes."""
    with Storage(scratch) as storage:
        virt = storage.virt
        storage.act("POST", "/vms", storage.vm("g", {"data": {"size_bytes": DATA_MIB * MIB}}))
        agent = GuestAgent(virt, "g")
        agent.wait_ready()
        ours, floor, still, still_floor = [], [], [], []
        for i in range(ROUNDS):
            memory, overlay = virt.images_dir / f"m{i}", virt.images_dir / f"o{i}"
            still_floor.append(pause_of(virt, lambda m=memory, o=overlay: virt.virsh(
                "snapshot-create-as", "g", "--no-metadata", "--live", "--memspec", f"file={m}",
                "--diskspec", f"vda,file={o}", timeout=120)))
            virt.virsh("blockcommit", "g", "vda", "--active", "--pivot", "--wait")
            still.append(pause_of(virt, lambda n=i: storage.act("POST", "/vms/g/snapshots", {"name": f"m{n}", "memory": True})))
            storage.act("DELETE", f"/vms/g/snapshots/m{i}")
        report.line("snapshot with memory: the guest stands still", median(still) * 1e3, "ms", floor=median(still_floor) * 1e3)
        bench_disk_snapshot(report, storage, agent)
        for i in range(ROUNDS):
            overlay = virt.images_dir / f"d{i}"
            virt.virsh("snapshot-create-as", "g", "--no-metadata", "--disk-only", "--diskspec", f"vda,file={overlay}")
            agent.run("disk-write", "vda", 0, 256 * MIB, i)
            floor.append(timed(lambda: virt.virsh("blockcommit", "g", "vda", "--active", "--pivot", "--wait")))
            storage.act("POST", "/vms/g/snapshots", {"name": f"d{i}"})
            agent.run("disk-write", "vda", 0, 256 * MIB, i + 10)
            before = agent.run("disk-hash", "vda", 0, MIB)
            ours.append(timed(lambda n=i: storage.act("DELETE", f"/vms/g/snapshots/d{n}")))
            assert agent.run("disk-hash", "vda", 0, MIB) == before
        report.line("deletion of a snapshot: merge of 256 MiB", median(ours), "s", floor=median(floor), digits=2)
        storage.act("POST", "/vms/g/stop")
