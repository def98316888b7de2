# SPDX-License-Identifier: Apache-2.0
"""Real guests on a private libvirt: what the API says is what the guest does."""
import os
import signal
import time

import pytest

from conftest import MIB, guest_vm, wait_guest_ready
from lab import GuestAgent, wait_until


def test_a_guest_from_creation_to_deletion(real, virt):
    api = real.local
    api.act("POST", "/vms", guest_vm("g", disks={"data": {"size_bytes": 16 * MIB, "serial": "data-1"}},
                                     nics={"lan": {}}, cpu={"count": 1, "max": 2, "model": "maximum"}))
    assert api.get("/vms/g")["power"] == "running"
    wait_guest_ready(api, "g")
    agent = GuestAgent(virt, "g")
    agent.wait_ready()
    assert agent.run("disks").get("vda.serial") == "data-1"
    mac = api.get("/vms/g")["nics"]["lan"]["mac"]
    assert mac in str(agent.run("mac"))
    facts = wait_until(lambda: (lambda g: g if g.get("addresses") else None)(api.get("/vms/g")["guest"]), 90,
                       "guest facts have an address")
    assert facts["agent"] == "connected" and facts["addresses"][0]["mac"].lower() == mac
    # live: a second vCPU, seen by the guest
    api.act("PATCH", "/vms/g", {"cpu": {"count": 2}})
    assert api.get("/vms/g")["pending"] == {}
    wait_until(lambda: agent.run("cpus")["online"] == "2", 30, "the guest sees two CPUs")
    # live: a disk comes and goes
    api.act("PATCH", "/vms/g", {"disks": {"extra": {"size_bytes": 8 * MIB}}})
    wait_until(lambda: "vdb.size" in agent.run("disks"), 30, "the guest sees the new disk")
    written = agent.run("disk-write", "vdb", 0, 65536, 7)
    assert agent.run("disk-hash", "vdb", 0, 65536), written
    api.act("PATCH", "/vms/g", {"disks": {"extra": None}})
    assert "vdb.size" not in agent.run("disks")
    # live: the balloon
    before = int(agent.run("memory-info")["free_kib"])
    api.act("PATCH", "/vms/g", {"memory": {"size_bytes": 112 * MIB}})
    wait_until(lambda: int(agent.run("memory-info")["free_kib"]) <= before - 8 * 1024, 30, "the balloon took memory")
    wait_until(lambda: api.get("/vms/g")["memory"]["current_bytes"] == 112 * MIB, 30, "what it has now is shown")
    # waits for a restart: firmware
    api.act("PATCH", "/vms/g", {"memory": {"size_bytes": 192 * MIB}})
    assert api.get("/vms/g")["pending"] == {"/memory/size_bytes": 192 * MIB}
    api.act("POST", "/vms/g/pause")
    assert virt.virsh("domstate", "g").strip() == "paused"
    api.act("POST", "/vms/g/resume")
    operation = api.act("POST", "/vms/g/shutdown")
    assert [s["name"] for s in operation["steps"]] == ["ask", "wait", "finish"]
    vm = api.get("/vms/g")
    assert vm["power"] == "stopped" and vm["desired_power"] == "stopped" and vm["pending"] == {}
    path = virt.virsh("domblklist", "g").split()[-1]
    assert os.path.exists(path)
    api.act("DELETE", "/vms/g?delete_disks=true")
    assert "g" not in virt.virsh("list", "--all", "--name").split()
    assert not os.path.exists(path)
    leftover = [v["name"] for v in api.get("/pools/default/volumes")["items"]]
    assert len(leftover) == 1  # the unplugged disk stayed: nothing is deleted unasked


def test_suspend_to_disk_and_back_keeps_the_guests_memory(real, virt):
    api = real.local
    api.act("POST", "/vms", guest_vm("g"))
    wait_guest_ready(api, "g")
    GuestAgent(virt, "g").wait_ready()
    uptime = float(GuestAgent(virt, "g").run("time")["uptime"])
    api.act("POST", "/vms/g/suspend")
    assert api.get("/vms/g")["power"] == "suspended" and virt.qemu_pids() == {}
    api.act("POST", "/vms/g/start")
    GuestAgent(virt, "g").wait_ready()
    assert float(GuestAgent(virt, "g").run("time")["uptime"]) > uptime
    assert api.request("GET", "/vms/g/console/log").text.count("BERTH-GUEST READY") == 1


def test_restart_policy_and_what_virsh_does_behind_our_back(real, virt):
    api = real.local
    api.act("POST", "/vms", guest_vm("again", restart_policy={"on_guest_shutdown": "restart", "on_crash": "restart"}))
    api.act("POST", "/vms", guest_vm("once"))
    wait_guest_ready(api, "again")
    wait_guest_ready(api, "once")
    GuestAgent(virt, "again").wait_ready()
    GuestAgent(virt, "once").wait_ready()
    GuestAgent(virt, "once").start("poweroff")
    wait_until(lambda: api.get("/vms/once")["desired_power"] == "stopped", 60, "a guest that shut down stays off")
    assert api.get("/vms/once")["power"] == "stopped"
    GuestAgent(virt, "again").start("poweroff")
    wait_guest_ready(api, "again", times=2)
    pid = virt.qemu_pids()["again"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: virt.qemu_pids().get("again") not in (None, pid), 60, "a crashed guest is started again")
    wait_until(lambda: api.get("/vms/again")["power"] == "running", 20, "and shown as running")
    # virsh: shown by event within a second
    for command, power in [("suspend", "paused"), ("resume", "running"), ("destroy", "stopped")]:
        virt.virsh(command, "again")
        started = time.monotonic()
        wait_until(lambda p=power: api.get("/vms/again")["power"] == p, 5, f"virsh {command} shows")
        assert time.monotonic() - started < 5
    time_to_settle = wait_until(lambda: api.get("/vms/again")["desired_power"] == "stopped", 10, "accepted")
    assert time_to_settle
    foreign = virt.virsh("dumpxml", "again").replace("<name>again</name>", "<name>foreign</name>")
    start, end = foreign.index("<uuid>"), foreign.index("</uuid>")
    foreign = foreign[:start] + foreign[end + 7:]
    foreign = foreign[:foreign.index("<metadata>")] + foreign[foreign.index("</metadata>") + 11:]
    virt.define(foreign, start=False)
    wait_until(lambda: "foreign" in [v["name"] for v in api.get("/vms?filter=managed%20eq%20false")["items"]], 10,
               "a new foreign domain is listed")
    virt.virsh("undefine", "foreign")
    wait_until(lambda: "foreign" not in [v["name"] for v in api.get("/vms")["items"]], 10, "and goes again")


@pytest.mark.parametrize("kind", ["uefi", "aarch64"])
def test_other_firmware_and_architecture(real, virt, kind):
    api = real.local
    body = guest_vm("g", "aarch64") if kind == "aarch64" else guest_vm("g")
    if kind == "uefi":
        body["boot"]["firmware"] = "uefi"
        body["memory"]["size_bytes"] = 256 * MIB
    api.act("POST", "/vms", body)
    wait_guest_ready(api, "g", deadline=240)
    api.act("DELETE", "/vms/g?force=true")
    assert virt.qemu_pids() == {}


def test_one_stuck_guest_delays_no_other_and_recovers(real, virt):
    api = real.local
    for name in ("a", "b", "c"):
        api.act("POST", "/vms", guest_vm(name))
    pid = virt.qemu_pids()["b"]
    os.kill(pid, signal.SIGSTOP)
    try:
        stuck = api.ok("POST", "/vms/b/pause").json
        for name in ("a", "c"):
            started = time.monotonic()
            api.act("POST", f"/vms/{name}/pause")
            api.act("POST", f"/vms/{name}/resume")
            assert time.monotonic() - started < 5, "the others are not delayed"
        ended = api.operation(stuck["id"], wait=60)
        assert ended["state"] == "failed" and ended["error"]["code"] in ("deadline_exceeded", "vm_stuck"), ended
        again = api.operation(api.ok("POST", "/vms/b/reset").json["id"], wait=60)
        assert again["state"] == "failed" and again["error"]["code"] == "vm_stuck", again
        assert again["error"]["detail"]
        assert api.get("/hosts/h1")["state"] == "ok"
    finally:
        os.kill(pid, signal.SIGCONT)

    def works():
        operation = api.operation(api.ok("POST", "/vms/b/reset").json["id"], wait=60)
        return operation["state"] == "succeeded"
    wait_until(works, 60, "the guest's calls work again", interval_seconds=0.5)


@pytest.mark.long
def test_a_stuck_guest_can_be_stopped_by_force(real, virt):
    api = real.local
    api.act("POST", "/vms", guest_vm("g"))
    os.kill(virt.qemu_pids()["g"], signal.SIGSTOP)
    stuck = api.operation(api.ok("POST", "/vms/g/pause").json["id"], wait=60)
    assert stuck["state"] == "failed"
    api.act("POST", "/vms/g/stop")
    assert api.get("/vms/g")["power"] == "stopped" and virt.qemu_pids() == {}


def test_after_a_power_failure_of_the_host_autostart_brings_guests_back_in_order(real, virt):
    api = real.local
    api.act("POST", "/vms", guest_vm("second", autostart={"priority": 20}))
    api.act("POST", "/vms", guest_vm("first", autostart={"priority": 10, "delay_seconds": 2}))
    api.act("POST", "/vms", guest_vm("plain"))
    api.act("POST", "/vms", guest_vm("off", autostart={"priority": 1}, desired_power="stopped"))
    virt.stop()
    wait_until(lambda: api.get("/hosts/h1")["state"] != "ok", 30, "the host is seen to be gone")
    assert api.get("/vms/first")["power"] == "unknown"
    virt.start()
    wait_until(lambda: api.get("/vms/first")["power"] == api.get("/vms/second")["power"] == "running", 120, "both are back")
    wait_until(lambda: api.get("/vms/plain")["desired_power"] == "stopped", 20, "without autostart it stays off")
    assert api.get("/vms/plain")["power"] == api.get("/vms/off")["power"] == "stopped"
    starts = {o["target"]["name"]: o["created_at"] for o in api.get("/operations?page_size=1000")["items"]
              if o["kind"] == "vm.start" and o["requested_by"] == "berth"}
    assert set(starts) == {"first", "second"} and starts["first"] < starts["second"], starts
