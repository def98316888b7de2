# SPDX-License-Identifier: Apache-2.0
"""The lab itself: what the other tests rely on, shown with real libvirtds and real guests."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from lab import (CommandFailed, Fleet, GuestAgent, GuestError, PrivateLibvirt, SerialConsole,
                 build_guest, domain_xml, serial_log, wait_ready, wait_until)

BOOT = 120


@pytest.fixture(scope="module", name="scratch")
def fixture_scratch():
    """A short path: unix sockets lie below it."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="bl-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module", name="virt")
def fixture_virt(scratch):
    """One host for all tests of a guest."""
    with PrivateLibvirt(scratch / "p") as virt:
        yield virt


@pytest.fixture(scope="module", name="agent")
def fixture_agent(virt):
    """A running guest with an empty disk, its agent answering."""
    disk = virt.images_dir / "a.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    virt.define(domain_xml(virt, "a", memory_mib=192, vcpus=2, disks=[(disk, "qcow2")]))
    wait_ready(virt, "a", BOOT)
    agent = GuestAgent(virt, "a")
    agent.wait_ready()
    return agent


def state(virt, domain):
    """The domain's state in virsh's words."""
    return virt.virsh("domstate", domain).strip()


def test_guest_boots_and_reports_its_cpus_disks_and_address(virt, agent):
    mac = virt.virsh("domiflist", "a").split()[-1]

    assert agent.run("ping") == {}
    assert agent.run("cpus") == {"online": "2"}
    assert agent.run("disks") == {"vda.size": str(64 << 20), "vda.serial": "disk0"}
    assert agent.run("mac") == {"eth0": mac}
    address = wait_until(lambda: agent.run("ip"), 60, "the guest has an address")
    assert address["eth0"].split("/")[0] in virt.virsh("net-dhcp-leases", "default")
    assert abs(float(agent.run("time")["unix"]) - time.time()) < 60


def test_guest_refuses_bad_commands(agent):
    for words in (["nonsense"], ["memory-fill", "-1"], ["memory-fill"], ["disk-hash", "vdz", 0, 1],
                  ["disk-hash", "vda", 0, (64 << 20) + 1], ["disk-write", "../vda", 0, 1, 1]):
        with pytest.raises(GuestError):
            agent.run(*words)


def test_console_answers_like_the_agent(virt, agent):
    with SerialConsole(virt, "a") as console:
        assert console.run("cpus") == agent.run("cpus")
        assert console.run("mac") == agent.run("mac")
        with pytest.raises(GuestError, match="unknown command"):
            console.run("nonsense")


def test_filled_memory_is_used_until_it_is_freed(agent):
    def available():
        return int(agent.run("memory-info")["available_kib"])

    before = available()
    assert agent.run("memory-fill", 40) == {"held_kib": str(40 * 1024)}
    filled = available()
    assert before - filled > 30 * 1024
    assert agent.run("memory-fill", 10)["held_kib"] == str(10 * 1024)
    agent.run("memory-free")
    assert available() - filled > 30 * 1024
    assert agent.run("memory-info")["held_kib"] == "0"


def test_memory_is_filled_at_the_rate_asked_for(agent):
    begin = time.monotonic()
    agent.run("memory-fill-rate", 20, 10)
    assert time.monotonic() - begin >= 2
    agent.run("memory-free")


def test_guest_survives_asking_for_more_memory_than_it_has(agent):
    with pytest.raises(GuestError, match="killed the holder"):
        agent.run("memory-fill", 1000)
    assert agent.run("memory-info")["held_kib"] == "0"


def test_same_seed_gives_same_hash_and_another_seed_another(agent):
    agent.run("disk-write", "vda", 4096, 300000, 1)
    agent.run("disk-write", "vda", (8 << 20) + 4096, 300000, 2)
    one = agent.run("disk-hash", "vda", 4096, 300000)
    two = agent.run("disk-hash", "vda", (8 << 20) + 4096, 300000)
    agent.run("disk-write", "vda", (8 << 20) + 4096, 300000, 1)
    assert one != two
    assert agent.run("disk-hash", "vda", 4096, 300000) == one
    agent.run("disk-write", "vda", 4096 + 1000, 5000, 1)  # of the same seed: nothing changes
    assert agent.run("disk-hash", "vda", 4096, 300000) == one
    agent.run("disk-write", "vda", 4096 + 1000, 1, 3)
    assert agent.run("disk-hash", "vda", 4096, 300000) != one


def test_hash_in_the_guest_is_the_hash_of_the_disk_outside(virt, agent):
    agent.run("disk-write", "vda", 0, 1 << 20, 5)
    inside = agent.run("disk-hash", "vda", 0, 1 << 20)["sha256"]
    raw = virt.images_dir / "a.raw"
    subprocess.run(["qemu-img", "dd", "-U", "-f", "qcow2", "-O", "raw", "bs=1M", "count=1",
                    f"if={virt.images_dir}/a.qcow2", f"of={raw}"], check=True)
    outside = subprocess.run(["sha256sum", raw], check=True, capture_output=True, text=True).stdout
    assert outside.split()[0] == inside


def test_guests_survive_a_restart_and_a_kill_of_libvirtd(virt, agent):
    pids = virt.qemu_pids()
    assert list(pids) == ["a"]
    virt.restart_libvirtd()
    assert virt.qemu_pids() == pids and state(virt, "a") == "running"
    virt.kill_libvirtd()
    with pytest.raises(CommandFailed):
        virt.virsh("list")
    virt.start_libvirtd()
    assert virt.qemu_pids() == pids and state(virt, "a") == "running"
    agent.wait_ready()


def test_paused_libvirtd_does_not_answer_until_resumed(virt, agent):
    assert agent.run("ping") == {}
    virt.pause_libvirtd()
    with pytest.raises(CommandFailed, match="no answer in 2 s"):
        virt.virsh("list", timeout=2)
    virt.resume_libvirtd()
    assert state(virt, "a") == "running"


def test_stopped_qemu_does_not_answer_until_continued(virt, agent):
    pid = virt.qemu_pids()["a"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(CommandFailed):
            agent.execute("guest-ping", timeout=2)
    finally:
        os.kill(pid, signal.SIGCONT)
    agent.wait_ready()


def test_power_button_and_agent_shut_the_guest_down(virt, agent):
    virt.virsh("shutdown", "a", "--mode", "acpi")
    wait_until(lambda: state(virt, "a") == "shut off", 60, "the power button has worked")
    virt.virsh("start", "a")
    agent.wait_ready(BOOT)
    virt.virsh("shutdown", "a", "--mode", "agent")
    wait_until(lambda: state(virt, "a") == "shut off", 60, "the agent has shut the guest down")


def test_guest_reboots_crashes_and_powers_off_when_told(virt, agent):
    virt.virsh("start", "a")
    wait_ready(virt, "a", BOOT)
    with SerialConsole(virt, "a") as console:
        console.run("reboot")
    wait_ready(virt, "a", BOOT, times=2)
    with SerialConsole(virt, "a") as console:
        console.run("crash")
    wait_ready(virt, "a", BOOT, times=3)
    assert "sysrq triggered crash" in serial_log(virt, "a").read_text(errors="replace")
    with SerialConsole(virt, "a") as console:
        console.run("poweroff")
    wait_until(lambda: state(virt, "a") == "shut off", 60, "the guest has powered off")
    assert agent.virt.qemu_pids() == {}


@pytest.mark.parametrize("uefi", [False, True])
def test_aarch64_guest_boots_answers_and_shuts_down(virt, uefi):
    virt.define(domain_xml(virt, "arm", memory_mib=256, architecture="aarch64", uefi=uefi))
    try:
        wait_ready(virt, "arm", 180)
        agent = GuestAgent(virt, "arm")
        agent.wait_ready()
        assert agent.run("cpus") == {"online": "1"}
        virt.virsh("shutdown", "arm", "--mode", "acpi" if uefi else "agent")
        wait_until(lambda: state(virt, "arm") == "shut off", 60, "the guest has shut down")
    finally:
        if state(virt, "arm") != "shut off":
            virt.virsh("destroy", "arm")
        virt.virsh("undefine", "arm", "--nvram")


@pytest.fixture(name="fleet")
def fixture_fleet(scratch):
    """Two hosts."""
    with Fleet(2, scratch / "f") as fleet:
        yield fleet


def test_fleet_of_two_hosts(fleet):
    def answers(index):
        return run_virsh(fleet.tcp_uri(index), "hostname") == f"h{index + 1}"

    for index, host in enumerate(fleet.hosts):
        assert host.virsh("hostname").strip() == f"h{index + 1}" and answers(index)
        host.define(domain_xml(host, "same-name", network=None))
    assert len({host.qemu_pids()["same-name"] for host in fleet.hosts}) == 2

    fleet.cut_link(1)
    assert answers(0) and not answers(1)
    assert state(fleet.hosts[1], "same-name") == "running"  # by the unix socket
    fleet.restore_link(1)
    wait_until(lambda: answers(1), 30, "the link is back")

    fleet.hang_host(1)
    assert answers(0) and not answers(1)
    fleet.unhang_host(1)
    wait_until(lambda: answers(1), 30, "the host goes on")

    wait_ready(fleet.hosts[0], "same-name", BOOT)
    fleet.kill_host(1)
    assert fleet.hosts[1].qemu_pids() == {}
    assert answers(0) and not answers(1)
    fleet.start_host(1)
    assert answers(1) and state(fleet.hosts[1], "same-name") == "shut off"


def test_guest_migrates_between_two_hosts(fleet):
    source, target = fleet.hosts
    disk = fleet.shared_dir / "m.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "16M"], check=True)
    source.define(domain_xml(source, "m", disks=[(disk, "qcow2")], network=None))
    agent = GuestAgent(source, "m")
    agent.wait_ready(BOOT)
    agent.run("disk-write", "vda", 0, 100000, 9)
    wanted = agent.run("disk-hash", "vda", 0, 100000)
    source.virsh("migrate", "--live", "--p2p", "--unsafe", "--persistent", "--undefinesource", "m",
                 fleet.tcp_uri(1), timeout=180)
    assert source.qemu_pids() == {} and list(target.qemu_pids()) == ["m"]
    assert GuestAgent(target, "m").run("disk-hash", "vda", 0, 100000) == wanted


def run_virsh(uri, command):
    """The answer of virsh within 3 s, or None."""
    try:
        return subprocess.run(["virsh", "-q", "-c", uri, command], stdin=subprocess.DEVNULL, timeout=3,
                              capture_output=True, text=True, check=True).stdout.strip()
    except subprocess.SubprocessError:
        return None


KILLED_SUITE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from lab import Fleet
fleet = Fleet(1, sys.argv[2], default_network=True).start()
print(fleet.uplink, fleet.switch.pid, fleet.hosts[0].namespace.pid, *fleet.hosts[0].namespace.processes(),
      flush=True)
time.sleep(600)
"""


def test_killed_suite_leaves_no_process_mount_or_device(scratch):
    tests = pathlib.Path(__file__).resolve().parents[1]
    with subprocess.Popen([sys.executable, "-c", KILLED_SUITE, tests, scratch / "k"],
                          stdout=subprocess.PIPE, text=True) as suite:
        uplink, *pids = suite.stdout.readline().split()
        assert len(pids) >= 5 and os.path.exists(f"/sys/class/net/{uplink}")
        suite.kill()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 30, "processes end")
    wait_until(lambda: not os.path.exists(f"/sys/class/net/{uplink}"), 30, "the network is gone")
    assert str(scratch) not in pathlib.Path("/proc/self/mounts").read_text()


def test_stopped_host_leaves_nothing_behind(scratch):
    with PrivateLibvirt(scratch / "s") as virt:
        virt.define(domain_xml(virt, "s", network=None))
        os.kill(virt.qemu_pids()["s"], signal.SIGSTOP)
        pids = list(virt.namespace.processes()) + [virt.namespace.pid]
        cgroups = virt.namespace.cgroups.own
        assert len(pids) >= 4 and all(path.exists() for path in cgroups)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert not any(path.exists() for path in cgroups)
    assert str(scratch) not in pathlib.Path("/proc/self/mounts").read_text()
