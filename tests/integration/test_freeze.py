# SPDX-License-Identifier: Apache-2.0
"""The freeze guard with a real guest and its agent: whatever happens to berthd or to the agent, the guest writes again.

The first part talks to the guard process as berthd does; the second goes through snapshots.
"""
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid

import pytest

import berth
from conftest import MIB, daemon_for, add_host, guest_vm, wait_guest_ready
from disks import check_world, start_with_host
from lab import GuestAgent, PrivateLibvirt, build_guest, wait_until
from lab.guest import domain_xml, wait_ready

GUARD_FD = 3
# Writes and syncs four times a second, and says so where it can be seen from outside.
WRITER = ("mke2fs -q /dev/vda; mkdir -p /mnt; mount -t ext4 /dev/vda /mnt || exit 1; n=0; "
          "while :; do echo $n >/mnt/n && sync && echo TICK $n >/dev/ttyS0; n=$((n+1)); sleep 0.25; done")
HOOK = "#!/bin/busybox sh\n[ $1 = thaw ] || sleep 9\n"


class Guest:
    """A guest whose file system is written to all the time."""

    def __init__(self, virt, name, log, domain_id):
        self.virt, self.name, self.log, self.id = virt, name, log, domain_id
        self.agent = GuestAgent(virt, name)
        self.agent.wait_ready()
        self.shell(WRITER, wait=False)
        wait_until(lambda: self.ticks() > 0, 60, "the guest writes")

    def shell(self, command, wait=True):
        pid = self.agent.execute("guest-exec", path="/bin/busybox", arg=["sh", "-c", command],
                                 capture_output=wait)["pid"]
        if not wait:
            return ""
        status = wait_until(lambda: (lambda s: s if s["exited"] else None)(
            self.agent.execute("guest-exec-status", pid=pid)), 60, command)
        return base64.b64decode(status.get("out-data", "")).decode()

    def ticks(self):
        text = self.log()
        at = text.rfind("TICK ")
        words = text[at:].split()
        return int(words[1]) if at >= 0 and len(words) > 1 else 0

    def seconds_until_it_writes(self, deadline):
        """Two ticks: one may have been on its way."""
        before, started = self.ticks(), time.monotonic()
        wait_until(lambda: self.ticks() >= before + 2, deadline, "the guest writes again")
        return time.monotonic() - started

    def stands_still(self, seconds=1.5):
        time.sleep(0.5)
        before = self.ticks()
        time.sleep(seconds)
        return self.ticks() == before

    def agent_pid(self):
        return int(self.shell("pidof qemu-ga").split()[0])


class Guard:
    """The process, with us in berthd's place."""

    def __init__(self, virt, guest, freeze=True):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A small program puts the socket where the guard expects it.
        self.process = subprocess.Popen(
            ["/usr/bin/python3", "-c",
             f"import os,sys; os.dup2(int(sys.argv[1]), {GUARD_FD}, True); os.execv(sys.argv[2], sys.argv[2:])",
             str(theirs.fileno()), berth.BINARY, "--freeze-guard", guest.id],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True,
            env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
        theirs.close()
        self.ours = ours
        ours.send(json.dumps({"uri": virt.uri, "vm_id": guest.id, "freeze": freeze}).encode())

    def hear(self, seconds=40):
        self.ours.settimeout(seconds)
        return json.loads(self.ours.recv(4096))

    def end(self):
        self.ours.close()
        return self.process.wait(60)


@pytest.fixture(scope="module", name="guest")
def fixture_guest():
    """One guest for the tests of the process."""
    scratch = tempfile.mkdtemp(prefix="berth-", dir="/tmp")
    with PrivateLibvirt(os.path.join(scratch, "v")) as virt:
        build_guest()
        disk = virt.images_dir / "g.raw"
        with open(disk, "wb") as file:
            file.truncate(16 * MIB)
        virt.define(domain_xml(virt, "g", memory_mib=128, disks=[(disk, "raw")]))
        wait_ready(virt, "g", 120)
        serial = virt.log_dir / "g.serial"
        domain_id = virt.virsh("domuuid", "g").strip()
        yield Guest(virt, "g", lambda: serial.read_text(errors="replace"), str(uuid.UUID(domain_id)))
    shutil.rmtree(scratch, ignore_errors=True)


def test_guard_keeps_the_guest_frozen_until_it_is_told(guest):
    guard = Guard(guest.virt, guest)
    assert guard.hear()["news"] == "frozen"
    assert guest.stands_still()
    guard.ours.send(b"{}")
    thawed = guard.hear()
    assert (thawed["news"], thawed["code"]) == ("thawed", ""), thawed
    assert guest.seconds_until_it_writes(20) < 20
    assert guard.end() == 0


def test_guest_writes_again_soon_after_berthd_is_gone(guest):
    guard = Guard(guest.virt, guest)
    assert guard.hear()["news"] == "frozen"
    assert guest.stands_still()
    guard.ours.close()  # as the kernel does when berthd is killed
    assert guest.seconds_until_it_writes(12) < 12
    assert guard.end() == 0


@pytest.mark.long
def test_guest_is_thawed_after_ten_seconds_unasked_and_that_is_said(guest):
    guard = Guard(guest.virt, guest)
    assert guard.hear()["news"] == "frozen"
    started = time.monotonic()
    thawed = guard.hear()
    assert 9 < time.monotonic() - started < 20
    assert (thawed["news"], thawed["code"]) == ("thawed", "deadline_exceeded"), thawed
    assert guest.seconds_until_it_writes(20) < 20
    assert guard.end() == 0


def test_stopped_agent_is_refused_in_words_and_the_guest_never_freezes(guest):
    pid = guest.agent_pid()
    guest.shell(f"(sleep 1; kill -STOP {pid}; sleep 11; kill -CONT {pid}) >/dev/null 2>&1 &", wait=False)
    time.sleep(3)
    guard = Guard(guest.virt, guest)
    refused = guard.hear()
    assert (refused["news"], refused["code"]) == ("refused", "unavailable"), refused
    assert "agent" in refused["message"]
    assert guard.end() == 0
    guest.agent.wait_ready()
    time.sleep(1)
    assert guest.agent.execute("guest-fsfreeze-status") == "thawed"
    assert guest.seconds_until_it_writes(20) < 20


@pytest.mark.long
def test_guest_that_freezes_after_we_gave_up_is_thawed_then(guest):
    """The agent takes 9 s before it freezes: long after the command has timed out."""
    encoded = base64.b64encode(HOOK.encode()).decode()
    guest.shell(f"echo {encoded} | base64 -d >/bin/hook; chmod 755 /bin/hook; "
                "sed -i 's#exec qemu-ga#exec qemu-ga -F/bin/hook#' /bin/agent")
    guest.shell("(sleep 1; killall qemu-ga) >/dev/null 2>&1 &", wait=False)
    time.sleep(3)
    guest.agent.wait_ready()
    guard = Guard(guest.virt, guest)
    unanswered = guard.hear()
    assert (unanswered["news"], unanswered["code"]) == ("unanswered", "unavailable"), unanswered
    thawed = guard.hear(60)
    assert thawed["news"] == "thawed", thawed
    assert guard.end() == 0
    assert guest.agent.execute("guest-fsfreeze-status") == "thawed"
    assert guest.seconds_until_it_writes(20) < 20


# ---- through snapshots ----

@pytest.fixture(name="daemon")
def fixture_daemon(scratch, virt):
    with daemon_for([virt], scratch) as daemon:
        add_host(daemon.local, "h1", virt.uri)
        yield daemon


def writing_vm(daemon, virt, name="g"):
    api = daemon.local
    api.act("POST", "/vms", guest_vm(name, disks={"data": {"size_bytes": 16 * MIB}}))
    wait_guest_ready(api, name)
    return Guest(virt, name, lambda: daemon.local.request("GET", f"/vms/{name}/console/log").text,
                 api.get(f"/vms/{name}")["id"])


def guard_pids(guest):
    found = subprocess.run(["pgrep", "-f", f"freeze-guard {guest.id}"], stdout=subprocess.PIPE, check=False)
    return found.stdout.split()


@pytest.mark.parametrize("fault,is_taken", [("switch:before", False), pytest.param("freeze:after", True, marks=pytest.mark.long),
                                            pytest.param("thaw:before", False, marks=pytest.mark.long)])
def test_quiesced_snapshot_and_kill_9_of_berthd_while_the_guest_is_frozen(daemon, virt, fault, is_taken):
    guest = writing_vm(daemon, virt)
    daemon.local.act("POST", "/vms/g/snapshots", {"name": "one", "quiesce": True})
    assert daemon.local.get("/vms/g/snapshots/one")["quiesced"] is True
    assert guest.seconds_until_it_writes(20) < 20
    wait_until(lambda: not guard_pids(guest), 20, "the guard has ended")
    daemon.stop()
    start_with_host(daemon, f"snapshot.create/{fault}")
    with pytest.raises(OSError):
        daemon.local.act("POST", "/vms/g/snapshots", {"name": "two", "quiesce": True})
    daemon.process.wait(30)
    assert daemon.process.returncode == -signal.SIGKILL
    # Nobody but the guard is there now. The console's log is read from its file.
    logs = [path for path in virt.log_dir.rglob("*") if path.is_file() and b"TICK" in path.read_bytes()]
    assert logs, f"no console log in {virt.log_dir}"
    guest.log = lambda: logs[0].read_text(errors="replace")
    assert guest.seconds_until_it_writes(12) < 12
    wait_until(lambda: not guard_pids(guest), 20, "the guard has ended")
    daemon.start()
    check_world(daemon, virt)
    # What was not frozen to its end is not offered, and its layer is merged; a freeze that was repeated is as good as the first.
    found = {s["name"]: (s["state"], s["quiesced"]) for s in daemon.local.get("/vms/g/snapshots")["items"]}
    assert found == {name: ("ready", True) for name in (["one", "two"] if is_taken else ["one"])}
    assert guest.seconds_until_it_writes(12) < 12


@pytest.mark.long
def test_group_of_two_guests_shows_one_moment(daemon, virt):
    guests = [writing_vm(daemon, virt, name) for name in ("a", "b")]
    daemon.local.act("POST", "/snapshot-groups", {"name": "pair", "vms": ["a", "b"], "quiesce": True})
    members = daemon.local.get("/snapshot-groups/pair")["members"]
    assert [m["state"] for m in members] == ["ready", "ready"]
    for guest in guests:
        assert daemon.local.get(f"/vms/{guest.name}/snapshots/pair")["quiesced"] is True
        assert guest.seconds_until_it_writes(20) < 20
    daemon.local.act("POST", "/snapshot-groups", {"name": "paused", "vms": ["a", "b"]})
    for guest in guests:
        assert daemon.local.get(f"/vms/{guest.name}")["power"] == "running"
        assert guest.seconds_until_it_writes(20) < 20
