# SPDX-License-Identifier: Apache-2.0
"""Somebody swaps what berthd opens for links, as fast as it goes, while requests come: nothing outside ever comes out or is
written. Of pools berthd opens nothing itself: libvirt and QEMU do."""
import contextlib
import ctypes
import multiprocessing
import os
import sqlite3
import subprocess

import pytest

from berth import Berthd
from conftest import FULL, MIB, small_vm

CANARY = "canary-" + "41d7c0be92" * 4
TRUTH = "what-the-guest-printed"
REQUESTS = 3000 if FULL else 400
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def swap_for_ever(one, other):
    """Each name always exists: it is the real thing one moment, a link the next."""
    rename = ctypes.CDLL(None).renameat2
    one, other = os.fsencode(one), os.fsencode(other)
    while True:
        rename(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)


class Swapper:
    def __init__(self, path, target):
        """`path` changes places with a link to `target`, which lies beside it."""
        self.link = path + ".link"
        os.symlink(target, self.link)
        self.process = multiprocessing.get_context("fork").Process(target=swap_for_ever, args=(path, self.link), daemon=True)

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()


def put(path, text):
    with open(path, "w", encoding="ascii") as out:
        out.write(text)


@pytest.fixture
def logs(scratch):
    """A console directory two levels down, and the same tree full of canaries."""
    for tree in ("real", "evil"):
        os.makedirs(os.path.join(scratch, tree, "console"))
    return os.path.join(scratch, "real", "console")


def call_it_local(daemon):
    """Its host is a fake one, which counts as remote; but its logs are here."""
    daemon.stop()
    with contextlib.closing(sqlite3.connect(os.path.join(daemon.state_dir, "berth.db"))) as db, db:
        db.execute("UPDATE host SET access = 'local'")
    daemon.start()


@pytest.mark.parametrize("what", ["file", "directory", "parent"])
def test_console_log_is_never_anothers_file(scratch, logs, what):
    evil = os.path.join(scratch, "evil")
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true", "--set",
                f"guests.console_directory={logs}") as daemon:
        api = daemon.local
        api.ok("POST", "/hosts", {"name": "h1", "uri": f"fake:///{os.path.basename(scratch)}?cpus=4&memory_mib=4096"})
        assert api.act("POST", "/vms", small_vm("a"))["state"] == "succeeded"
        call_it_local(daemon)
        name = f"berth-{api.get('/vms/a')['id']}.console.log"
        put(os.path.join(logs, name), TRUTH)
        put(os.path.join(evil, "console", name), CANARY)
        attacks = {"file": (os.path.join(logs, name), os.path.join(evil, "console", name)),
                   "directory": (logs, os.path.join(evil, "console")),
                   "parent": (os.path.dirname(logs), evil)}
        assert api.request("GET", "/vms/a/console/log").text == TRUTH
        seen = {"truth": 0, "refused": 0}
        with Swapper(*attacks[what]):
            for _ in range(REQUESTS):
                answer = api.request("GET", "/vms/a/console/log")
                assert CANARY not in answer.text, answer
                seen["truth" if answer.text == TRUTH else "refused"] += 1
        assert seen["truth"] > 0 and seen["refused"] > 0, seen  # both were met
        assert CANARY not in daemon.log()


@pytest.mark.parametrize("what", ["staging", "library", "."])
def test_images_are_written_and_read_where_they_belong(scratch, what):
    evil = os.path.join(scratch, "evil")
    for folder in ("staging", "library"):
        os.makedirs(os.path.join(evil, folder))
    raw = os.path.join(scratch, "disk.raw")
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", raw, "1M"], check=True)
    with open(raw, "rb") as stream:
        data = stream.read()
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        library = os.path.join(daemon.state_dir, "images")
        target = os.path.normpath(os.path.join(library, what))
        with Swapper(target, os.path.normpath(os.path.join(evil, what))):
            for i in range(40 if FULL else 10):
                image = daemon.local.ok("POST", "/images", {"name": f"i{i}", "format": "raw"}).json
                for folder, end in (("staging", "upload"), ("staging", "qcow2"), ("library", "qcow2")):
                    put(os.path.join(evil, folder, f"{image['id']}.{end}"), CANARY)
                answer = daemon.local.request("PUT", f"/images/i{i}/content?wait=60", raw=data,
                                              headers={"Content-Type": "application/octet-stream"})
                assert answer.json["state"] == "succeeded", answer
                image = daemon.local.get(f"/images/i{i}")
                assert image["size_bytes"] == MIB and image["state"] == "ready", image
                daemon.local.act("DELETE", f"/images/i{i}")
        for folder in ("staging", "library"):
            for name in os.listdir(os.path.join(evil, folder)):
                with open(os.path.join(evil, folder, name), encoding="ascii") as stream:
                    assert stream.read() == CANARY
            assert len(os.listdir(os.path.join(evil, folder))) == (20 if folder == "staging" else 10) * (4 if FULL else 1)
        assert CANARY not in daemon.log()
