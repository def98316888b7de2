# SPDX-License-Identifier: Apache-2.0
"""The test guest (tests/guest) seen from a test: its files, a domain for it, its agent and its console."""
import base64
import json
import os
import pathlib
import re
import select
import socket
import subprocess
import time
import tty
import xml.etree.ElementTree as ElementTree

from .namespace import CommandFailed
from .wait import wait_until

TOP = pathlib.Path(__file__).resolve().parents[2]
READY = "BERTH-GUEST READY"
ARCHITECTURES = {
    "x86_64": {"machine": "q35", "console": "ttyS0", "emulator": "/usr/bin/qemu-system-x86_64",
               "folder": TOP / "build/guest"},
    "aarch64": {"machine": "virt", "console": "ttyAMA0", "emulator": "/usr/bin/qemu-system-aarch64",
                "folder": TOP / "build/guest/aarch64"},
}


class GuestError(Exception):
    """The guest answered ERR, or its agent refused."""


def build_guest(architecture="x86_64"):
    """Builds the guest when needed and returns the paths (kernel, initrd)."""
    done = subprocess.run([TOP / "tests/guest/build", architecture], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"tests/guest/build {architecture}: {done.stdout}")
    folder = ARCHITECTURES[architecture]["folder"]
    return folder / "vmlinuz", folder / "initramfs.cpio.gz"


def domain_xml(virt, name, memory_mib=128, vcpus=1, disks=(), architecture="x86_64",
               network="default", uefi=False, extra_devices=""):
    """A domain that boots the test guest by TCG; disks are (path, format) pairs: vda, vdb, ...

    aarch64 has ACPI, and with it the power button, only with uefi.
    """
    arch = ARCHITECTURES[architecture]
    kernel, initrd = build_guest(architecture)
    disk_lines = "".join(
        f"<disk type='file' device='disk'><driver name='qemu' type='{kind}'/><source file='{path}'/>"
        f"<target dev='vd{chr(ord('a') + i)}' bus='virtio'/><serial>disk{i}</serial></disk>"
        for i, (path, kind) in enumerate(disks))
    nic = (f"<interface type='network'><source network='{network}'/><model type='virtio'/></interface>"
           if network else "")
    firmware = " firmware='efi'" if uefi else ""
    # Otherwise libvirt prefers firmware with enrolled keys, which refuses our kernel.
    plain = "<firmware><feature enabled='no' name='secure-boot'/></firmware>" if uefi else ""
    features = "<features><acpi/></features>" if uefi or architecture == "x86_64" else ""
    return f"""<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>{vcpus}</vcpu>
  <os{firmware}>
    <type arch='{architecture}' machine='{arch["machine"]}'>hvm</type>
    {plain}
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>console={arch["console"]} quiet panic=-1</cmdline>
  </os>
  {features}
  <cpu mode='maximum'/>
  <devices>
    <emulator>{arch["emulator"]}</emulator>
    {disk_lines}
    {nic}
    <serial type='pty'><log file='{virt.log_dir}/{name}.serial' append='off'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='virtio' autodeflate='on'><stats period='1'/></memballoon>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    {extra_devices}
  </devices>
</domain>
"""


def serial_log(virt, domain):
    """The path of the file to which the domain's serial console is logged."""
    log = ElementTree.fromstring(virt.virsh("dumpxml", domain)).find("./devices/serial/log")
    if log is None:
        raise CommandFailed(f"{domain}: its serial console is not logged to a file")
    return pathlib.Path(log.get("file"))


def wait_ready(virt, domain, deadline_seconds=120, times=1):
    """Waits until the guest has said READY (`times` times: after a reboot) on its serial console."""
    path = serial_log(virt, domain)
    wait_until(lambda: path.read_text(errors="replace").count(READY) >= times, deadline_seconds,
               f"{domain} says {READY}", interval_seconds=0.1)


def parse_answer(line):
    """"OK a=1 b=2" as {"a": "1", "b": "2"}; GuestError for anything else."""
    if line == "OK":
        return {}
    if not line.startswith("OK "):
        raise GuestError(line)
    return dict(re.findall(r"(\S+?)=(\S*)", line[3:]))


class GuestAgent:
    """Commands to a guest through its agent: any of them, and guestctl's by run()."""

    def __init__(self, virt, domain):
        self.virt = virt
        self.domain = domain

    def execute(self, command, timeout=30, **arguments):
        """Sends one agent command and returns its answer."""
        message = {"execute": command}
        if arguments:
            message["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        text = self.virt.virsh("qemu-agent-command", "--timeout", timeout, self.domain,
                               json.dumps(message), timeout=timeout + 30)
        return json.loads(text)["return"]

    def wait_ready(self, deadline_seconds=120):
        """Waits until the agent answers."""
        wait_until(lambda: self.execute("guest-ping", timeout=5) == {}, deadline_seconds,
                   f"the agent of {self.domain} answers", interval_seconds=0.2)

    def start(self, *words):
        """Starts guestctl with a command and returns the guest's process id, without waiting."""
        return self.execute("guest-exec", path="/bin/guestctl", arg=[str(w) for w in words],
                            capture_output=True)["pid"]

    def finish(self, pid, deadline_seconds=60):
        """Waits for what start() started and returns its answer as a dictionary."""
        status = wait_until(lambda: self._exited(pid), deadline_seconds,
                            f"process {pid} in {self.domain} ends")
        return parse_answer(base64.b64decode(status.get("out-data", "")).decode().strip())

    def _exited(self, pid):
        status = self.execute("guest-exec-status", pid=pid)
        return status if status["exited"] else None

    def run(self, *words, deadline_seconds=60):
        """Runs guestctl with a command and returns its answer as a dictionary."""
        return self.finish(self.start(*words), deadline_seconds)


class SerialConsole:
    """The same commands over the guest's serial console (a pty or a listening unix socket)."""

    def __init__(self, virt, domain):
        source = ElementTree.fromstring(virt.virsh("dumpxml", domain)).find("./devices/serial")
        path = source.find("source").get("path")
        self.domain = domain
        if source.get("type") == "unix":
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(path)
            self._fd = os.dup(self._socket.fileno())
            self._socket.close()
        else:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(self._fd)
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Gives the console back."""
        os.close(self._fd)

    def run(self, *words, deadline_seconds=60):
        """Sends a line and returns the answer as a dictionary; other output is passed over."""
        os.write(self._fd, (" ".join(str(w) for w in words) + "\n").encode())
        end = time.monotonic() + deadline_seconds
        while True:
            line = self._next_line(end)
            if line is None:
                raise AssertionError(f"{self.domain}: no answer to {words[0]} in {deadline_seconds} s")
            if line == "OK" or line.startswith(("OK ", "ERR ")):
                return parse_answer(line)

    def _next_line(self, end):
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._fd], [], [], max(0, end - time.monotonic()))
            if not ready:
                return None
            chunk = os.read(self._fd, 4096)
            if not chunk:
                raise GuestError(f"{self.domain}: the console was closed")
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode(errors="replace").strip()
