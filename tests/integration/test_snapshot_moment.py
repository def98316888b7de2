# SPDX-License-Identifier: Apache-2.0
"""The snapshots of a group show one moment: no member went on before the last one stood still."""
import re
import subprocess
import threading

from conftest import guest_vm, wait_guest_ready
from lab import wait_until

STAMP = re.compile(r"^\S+ (\d+):(\d+):(\d+\.\d+).*?event 'lifecycle' for domain '([^']+)': (Suspended|Resumed)", re.M)


class Watcher:
    """What another client of libvirt hears of the guests: [(seconds of the day, guest, "Suspended" or "Resumed")]."""

    def __init__(self, virt):
        self.lines = []
        self.process = subprocess.Popen(
            ["stdbuf", "-oL", "virsh", "-c", virt.uri, "event", "--event", "lifecycle", "--loop", "--timestamp"],
            stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=lambda: self.lines.extend(iter(self.process.stdout.readline, "")))
        self.reader.start()

    def seen(self):
        return [(int(h) * 3600 + int(m) * 60 + float(s), guest, what)
                for h, m, s, guest, what in STAMP.findall("".join(self.lines))]

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.reader.join()


def test_members_of_a_group_stand_still_together(real, virt):
    api = real.local
    names = ("a", "b", "c")
    for name in names:
        api.act("POST", "/vms", guest_vm(name, disks={"data": {"size_bytes": 8 << 20}}, labels={"app": "shop"}))
    for name in names:
        wait_guest_ready(api, name)
    watcher = Watcher(virt)
    try:
        # it listens once it has heard of a pause
        def heard():
            api.act("POST", "/vms/a/pause")
            api.act("POST", "/vms/a/resume")
            return watcher.seen()
        wait_until(heard, 60, "virsh listens")
        wait_until(lambda: watcher.seen()[-1][2] == "Resumed", 30, "all was heard")
        before = len(watcher.seen())
        api.act("POST", "/snapshot-groups", {"name": "g", "labels": {"app": "shop"}})
        wait_until(lambda: len(watcher.seen()) == before + 6, 60, "three pauses and three resumptions are heard")
        found = watcher.seen()[before:]
    finally:
        watcher.stop()
    assert sorted((guest, what) for _, guest, what in found) == sorted((n, w) for n in names for w in ("Resumed", "Suspended"))
    assert [what for *_, what in found] == ["Suspended"] * 3 + ["Resumed"] * 3, found
    assert {m["state"] for m in api.get("/snapshot-groups/g")["members"]} == {"ready"}
    assert {virt.virsh("domstate", name).strip() for name in names} == {"running"}
