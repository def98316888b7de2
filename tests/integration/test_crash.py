# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the manager and restarts of libvirtd: guests go on, answers stand, nothing is left over."""
import concurrent.futures
import http.client
import os
import random
import re
import threading
import time

import pytest

from conftest import FULL, MIB, add_host, daemon_for, guest_vm, small_vm
from disks import start_with_host
from lab import wait_until

KILLS = 30 if FULL else 8
RESTARTS = 5 if FULL else 2


class Traffic:
    """Callers that create, change and delete small VMs, and remember every answer they got."""

    def __init__(self, daemon, callers=3):
        self.daemon = daemon
        self.stopping = threading.Event()
        self.accepted = []  # (kind, operation id) of every 2xx and 202
        self.gone = set()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(callers)]
        for thread in self.threads:
            thread.start()

    def _run(self, caller):
        number = 0
        while not self.stopping.is_set():
            number += 1
            name = f"t{caller}-{number}"
            # Half of them wait: that bounds the queue, and answers come both early and late.
            wait = "?wait=2" if number % 2 else ""
            self._send("POST", f"/vms{wait}", small_vm(name, disks={"d": {"size_bytes": MIB}}))
            self._send("PATCH", f"/vms/{name}", {"description": "changed"})
            if number % 2:
                self._send("DELETE", f"/vms/{name}?delete_disks=true&force=true")

    def _send(self, method, path, body=None):
        try:
            answer = self.daemon.local.request(method, path, body, timeout=30)
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)  # paced retry while the daemon is down
            return
        if answer.status in (200, 202) and answer.json and "kind" in answer.json:
            with self.lock:
                self.accepted.append(answer.json["id"])

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)


def check_nothing_left_over(api, virt, guests):
    """After everything has ended: domains and files are those of the records, no more, no less."""
    wait_until(lambda: api.get('/operations?filter=state%20eq%20"running"')["items"] == [] and
               api.get('/operations?filter=state%20eq%20"queued"')["items"] == [], 120, "all operations have ended")
    # A look that began before a deletion may show its domain once more, until the next one.
    wait_until(lambda: {vm["name"] for vm in api.get("/vms?page_size=1000")["items"]} ==
               set(virt.virsh("list", "--all", "--name").split()), 20, "VMs and domains are the same")
    vms = {vm["name"] for vm in api.get("/vms?page_size=1000")["items"]}
    assert guests <= vms
    volumes = api.get("/pools/default/volumes?page_size=1000")["items"]
    assert all(v["state"] == "ready" for v in volumes), volumes
    pool = virt.images_dir / "pool"
    files = {f for f in os.listdir(pool) if re.match(r"[0-9a-f-]{36}\.", f)} if pool.exists() else set()
    assert files == {f"{v['id']}.{v['format']}" for v in volumes}


def test_killed_berthd_loses_nothing_and_touches_no_guest(scratch, virt):
    chance = random.Random(1)
    names = {f"g{i}" for i in range(5 if FULL else 3)}
    daemon = daemon_for([virt], scratch).start()
    api = daemon.local
    add_host(api, "h1", virt.uri)
    for name in sorted(names):
        api.act("POST", "/vms", guest_vm(name))
    pids = virt.qemu_pids()
    traffic = Traffic(daemon)
    slowest = crashes = 0
    for kill in range(KILLS):
        accepted = len(traffic.accepted)
        if kill % 2:  # amidst of work; the others may hit it while it connects
            wait_until(lambda n=accepted: len(traffic.accepted) > n, 60, "an operation is accepted")
        time.sleep(chance.uniform(0.05, 0.8))  # a random moment
        daemon.kill()
        crashes += virt.revive_libvirtd()
        daemon.start(deadline=30)
        slowest = max(slowest, daemon.ready_seconds)
    traffic.stop()
    api = daemon.local
    wait_until(lambda: not virt.revive_libvirtd() and api.get("/hosts/h1")["state"] == "ok", 30, "the host is back")
    assert {n: p for n, p in virt.qemu_pids().items() if n in names} == pids
    check_nothing_left_over(api, virt, names)
    missing = [i for i in traffic.accepted if api.request("GET", f"/operations/{i}").status != 200]
    assert traffic.accepted and missing == []
    for name in names:
        assert api.get(f"/vms/{name}")["power"] == "running"
    assert slowest < 10, f"ready after {slowest:.2f} s (aim: 2 s; tests allow five times that)"
    print(f"{KILLS} kills, {len(traffic.accepted)} operations accepted, slowest start {slowest:.2f} s, "
          f"{crashes} crashes of libvirtd")
    daemon.stop()


FAULTS = ["vm.create/volumes:before", "vm.create/volumes:after", "vm.create/define:before", "vm.create/define:after",
          "vm.create/start:before", "vm.create/start:after"]


@pytest.mark.parametrize("fault", FAULTS)
def test_killed_at_each_step_of_a_creation_it_is_finished_afterwards(scratch, virt, fault):
    daemon = daemon_for([virt], scratch).start()
    add_host(daemon.local, "h1", virt.uri)
    daemon.stop()
    start_with_host(daemon, fault)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(daemon.local.request, "POST", "/vms",
                            guest_vm("g", disks={"d": {"size_bytes": MIB}}, memory={"size_bytes": 64 * MIB}))
        daemon.process.wait(60)
        answer = None
        try:
            answer = asked.result(60)
        except (OSError, http.client.HTTPException):
            pass
    assert daemon.process.returncode == -9
    daemon.start()
    api = daemon.local
    wait_until(lambda: api.get("/hosts/h1")["state"] == "ok", 60, "the host is up")
    if answer is not None:
        assert api.operation(answer.json["id"], wait=120)["state"] == "succeeded"
    check_nothing_left_over(api, virt, {"g"})
    assert api.get("/vms/g")["power"] == "running"
    assert len(virt.qemu_pids()) == 1
    daemon.stop()


def test_restarted_libvirtd_is_reconnected_and_watched_again(scratch, virt):
    with daemon_for([virt], scratch) as daemon:
        api = daemon.local
        add_host(api, "h1", virt.uri)
        api.act("POST", "/vms", guest_vm("g"))
        traffic = Traffic(daemon, callers=2)
        for _ in range(RESTARTS):
            virt.restart_libvirtd()
            started = time.monotonic()
            wait_until(lambda: api.get("/hosts/h1")["state"] == "ok", 25, "the host is connected again")
            assert time.monotonic() - started < 25
            virt.virsh("suspend", "g")
            wait_until(lambda: api.get("/vms/g")["power"] == "paused", 10, "events come again")
            virt.virsh("resume", "g")
            wait_until(lambda: api.get("/vms/g")["power"] == "running", 10, "events come again")
        traffic.stop()
        check_nothing_left_over(api, virt, {"g"})
        ends = [api.operation(i, wait=60)["state"] for i in traffic.accepted]
        assert ends and set(ends) <= {"succeeded", "failed", "cancelled"}, ends
