# SPDX-License-Identifier: Apache-2.0
"""A guest writes a qcow2 header that names a file of the host into its raw disk: nobody ever believes it."""
import ctypes
import hashlib
import os
import struct
import subprocess
import threading

from berth import API
from conftest import MIB
from disks import assert_agree, check_world, make_guest, make_pool, recorded, rows, wait_up

CANARY = b"the host's own secret, which no guest may read " * 20


BLOCK = 512
AT_FDCWD, FAN_MARK_ADD, FAN_NONBLOCK, FAN_OPEN = -100, 0x1, 0x2, 0x20
EVENT = struct.Struct("=IBBHQii")  # struct fanotify_event_metadata


class Watch:
    """Who opens a file, in whatever namespace (fanotify(7))."""

    def __init__(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]
        self.fd = libc.fanotify_init(FAN_NONBLOCK, os.O_RDONLY | os.O_CLOEXEC)
        assert self.fd >= 0, os.strerror(ctypes.get_errno())
        assert libc.fanotify_mark(self.fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, os.fsencode(path)) == 0
        self.seen = set()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        """At once, for those who open it may end."""
        while not self.stop.wait(0.01):
            self.read()
        self.read()

    def read(self):
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        for at in range(0, len(data), EVENT.size):
            _, _, _, _, _, fd, pid = EVENT.unpack_from(data, at)
            os.close(fd)
            try:
                with open(f"/proc/{pid}/cmdline", encoding="ascii", errors="replace") as words:
                    self.seen.add(os.path.basename(words.read().split("\0")[0]))
            except OSError:
                self.seen.add("one that has ended")  # nor may that be

    def close(self):
        """Answers who."""
        self.stop.set()
        self.thread.join()
        os.close(self.fd)
        return self.seen


def forged_header(canary):
    """The beginning of a qcow2 image of 4 MiB that has `canary` as its backing file."""
    forged = f"{canary}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", canary, "-F", "raw", forged, "4M"], check=True)
    with open(forged, "rb") as file:
        header = file.read()
    os.unlink(forged)
    return header


def assert_still_raw(daemon, api, virt, pool):
    path = assert_agree(api, virt, "g", "data")
    assert path[-1].endswith(".raw") and len(path) == 1
    formats = rows(daemon, "SELECT DISTINCT layer.format FROM layer JOIN volume ON volume.layer_id = layer.id")
    assert formats == [("raw",)]
    assert api.get("/vms/g")["disks"]["data"]["pool"] == pool
    return path[0]


def nowhere(directory):
    """No file below the directory has a word of the canary."""
    return subprocess.run(["grep", "-rlF", "the host's own secret", str(directory)], capture_output=True, text=True,
                          check=False).stdout == ""


def put_from_inside(agent, device, data):
    """The guest writes it to the beginning of its disk; blocks of zeroes are there already."""
    for at in range(0, len(data), BLOCK):
        block = data[at:at + BLOCK]
        if any(block):
            agent.run("disk-put", device, at, block.hex())


def download(api, pool, volume):
    connection = api.connect(150)
    try:
        connection.request("GET", f"{API}/pools/{pool}/volumes/{volume}/content")
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        return answer.read()
    finally:
        connection.close()


def test_a_header_in_a_raw_disk_changes_nothing(real, virt):
    api = real.local
    canary = os.path.join(real.directory, "canary")
    with open(canary, "wb") as file:
        file.write(CANARY)
    header = forged_header(canary)
    assert len(header) <= MIB
    second = make_pool(api, virt, "second")
    agent = make_guest(api, virt, disks={"data": {"size_bytes": 16 * MIB, "format": "raw"}})
    watch = Watch(canary)
    agent.run("disk-write", "vda", MIB, 7 * MIB, 3)
    put_from_inside(agent, "vda", header)
    api.act("POST", "/vms/g/stop")
    api.act("POST", "/vms/g/start")
    agent = wait_up(api, virt, times=2)
    expected = agent.run("disk-hash", "vda", 0, 8 * MIB)
    volume = api.get("/vms/g")["disks"]["data"]["volume"]

    def unchanged(pool):
        where = assert_still_raw(real, api, virt, pool)
        assert agent.run("disk-hash", "vda", 0, 8 * MIB) == expected
        return where

    api.act("POST", f"/pools/default/volumes/{volume}/resize", {"size_bytes": 24 * MIB})
    assert agent.run("disks")["vda.size"] == str(24 * MIB)
    unchanged("default")
    api.act("POST", "/vms/g/disks/data/move", {"pool": "second"})
    assert unchanged("second").startswith(str(second))
    api.act("POST", "/vms/g/snapshots", {"name": "s"})
    api.act("POST", "/vms/g/snapshots/s/revert", {"power": "running"})
    agent = wait_up(api, virt, times=3)
    api.act("DELETE", "/vms/g/snapshots/s")
    unchanged("second")
    api.act("POST", "/vms/g/stop")
    api.act("POST", f"/pools/second/volumes/{volume}/resize", {"size_bytes": 32 * MIB})
    api.act("POST", f"/pools/second/volumes/{volume}/clone", {"name": "copy", "mode": "full"})
    copy = recorded(api, "second", "copy")[0]
    with open(copy, "rb") as file:
        assert file.read(len(header)) == header
    assert copy.endswith(".raw") and os.path.getsize(copy) == 32 * MIB
    for name, size in ((volume, 32 * MIB), ("copy", 32 * MIB)):
        data = download(api, "second", name)
        assert data[:len(header)] == header and len(data) == size
        with open(recorded(api, "second", name)[0], "rb") as file:
            assert hashlib.sha256(data).digest() == hashlib.file_digest(file, "sha256").digest()
    check_world(real, virt)
    assert nowhere(virt.images_dir)
    # libvirt's pools look at each file's header, and at the header of what that names; nothing of it is used or shown. No
    # QEMU, berthd or tool opens it.
    assert watch.close() <= {"libvirtd"}
    # It was a header that leads there, for whoever believes it, and the watch would have told.
    watch = Watch(canary)
    virt.namespace.shell(f"qemu-io -r -f qcow2 -c 'read 0 512' -c 'sleep 1000' {copy}")
    assert "qemu-io" in watch.close()
