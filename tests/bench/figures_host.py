# SPDX-License-Identifier: Apache-2.0
"""Figures that need a real libvirt: memory, the way of an event, reads while a host hangs."""
import os
import socket
import subprocess
import threading
import time
import uuid

from measure import Daemon, Program, add_host, memory_mib, percentile, wait_idle, wait_until, wrk
from lab import PrivateLibvirt  # its path comes with measure

EVENTS = 100  # pauses, and as many resumes

DOMAIN = """\
<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<interface type='network'><source network='default'/><model type='virtio'/></interface>
<memballoon model='none'/></devices></domain>
"""


def define_domains(virt, first, count):
    """Many at once: one virsh reads all commands."""
    commands = []
    directory = os.path.join(str(virt.dir), "xml")
    os.makedirs(directory, exist_ok=True)
    for i in range(first, first + count):
        path = os.path.join(directory, f"{i}.xml")
        with open(path, "w", encoding="ascii") as xml:
            xml.write(DOMAIN.format(name=f"vm-{i:05}", uuid=uuid.uuid4(), memory=64))
        commands.append(f"define {path}")
    virt.virsh(timeout=300, stdin="\n".join([*commands, ""]))


def bench_memory(report, scratch):
    """Above a bare process with the same libraries and one connection, with real domains on a real libvirt."""
    with PrivateLibvirt(os.path.join(scratch, "v")) as virt:
        with Program("bench_bare", virt.uri) as bare:
            floor = memory_mib(bare.pid)
        defined = 0
        for count, limit in ((100, 8), (1000, 16), (10000, 48)):
            define_domains(virt, defined, count - defined)
            defined = count
            report_memory(report, os.path.join(scratch, f"m{count}"), virt, count, limit, floor)


def report_memory(report, directory, virt, count, limit, floor):
    with Daemon(directory) as daemon:
        add_host(daemon.local, "h1", virt.uri)
        started = time.monotonic()
        wait_until(lambda: count_vms(daemon.local) == count, 180, f"{count} VMs are listed", 0.1)
        listed_s = time.monotonic() - started
        wait_idle(daemon.pid)
        read_everything(daemon)
        rss, anonymous = memory_mib(daemon.pid)
        report.line(f"memory at {count:,} VMs: resident above bare", rss - floor[0], "MiB", floor=floor[0],
                    aim=lambda value, _: value <= limit, aim_text=f"<= {limit} MiB above")
        report.line(f"memory at {count:,} VMs: anonymous above bare", anonymous - floor[1], "MiB", floor=floor[1])
        if count == 10000:
            report.line("10,000 foreign domains found and recorded", listed_s, "s")


def pages(api):
    path = "/vms?page_size=1000"
    while path:
        page = api.get(path)
        yield page["items"]
        token = page["next_page_token"]
        path = token and f"/vms?page_size=1000&page_token={token}"


def count_vms(api):
    return sum(len(items) for items in pages(api))


def read_everything(daemon):
    """Every HTTP thread has had work: its caches are warm."""
    wrk(daemon.url("/vms?page_size=1000"), daemon.pid, connections=8, seconds=1, token=daemon.token)
    count_vms(daemon.local)


# ---- events ----

class Arrivals(threading.Thread):
    """When lines that contain a word arrived from a file, by the monotonic clock."""

    def __init__(self, file, words):
        super().__init__(daemon=True)
        self.file, self.words = file, words
        self.changed = threading.Condition()
        self.times = []
        self.start()

    def run(self):
        for line in self.file:
            now = time.monotonic()
            if all(word in line for word in self.words):
                with self.changed:
                    self.times.append(now)
                    self.changed.notify_all()

    def wait(self, count, timeout=10):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.times) >= count, timeout):
                raise AssertionError(f"{len(self.times)} of {count} events came: {self.words}")


def open_stream(daemon):
    stream = socket.create_connection(("127.0.0.1", daemon.port))
    stream.sendall(f"GET /api/v1/events?kind=vm HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {daemon.token}\r\n\r\n".encode())
    return stream


def bench_events(report, scratch):
    """From the moment another client of libvirt hears of a pause to the moment a client of ours does."""
    with PrivateLibvirt(os.path.join(scratch, "v")) as virt, Daemon(os.path.join(scratch, "b")) as daemon:
        virt.define(DOMAIN.format(name="g", uuid=uuid.uuid4(), memory=32))
        add_host(daemon.local, "h1", virt.uri)
        wait_until(lambda: daemon.local.get("/vms/g")["power"] == "running", 60, "the guest is seen running")
        rival = subprocess.Popen(["stdbuf", "-oL", "virsh", "-c", virt.uri, "event", "--event", "lifecycle", "--loop"],
                                 stdout=subprocess.PIPE, text=True)
        stream = open_stream(daemon)
        time.sleep(1)
        heard = Arrivals(rival.stdout, ["lifecycle"])
        streamed = Arrivals(stream.makefile("r", encoding="utf-8", newline="\n"), ["data:", '"power"'])
        client = subprocess.Popen(["virsh", "-q", "-c", virt.uri], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                  text=True)
        sent = []
        for i in range(EVENTS * 2):
            sent.append(time.monotonic())
            client.stdin.write("suspend g\n" if i % 2 == 0 else "resume g\n")
            client.stdin.flush()
            heard.wait(i + 1)
            streamed.wait(i + 1)
        client.stdin.close()
        client.wait()
        rival.terminate()
        rival.wait()
        stream.close()
        theirs = [(at - start) * 1e3 for at, start in zip(heard.times, sent)]
        late = [(ours - theirs) * 1e3 for ours, theirs in zip(streamed.times, heard.times)]
        report.line("libvirt event to SSE, p50", percentile(late, 0.5), "ms", floor=percentile(theirs, 0.5), digits=2)
        report.line("libvirt event to SSE, p99", percentile(late, 0.99), "ms", floor=percentile(theirs, 0.99), digits=2,
                    aim=lambda value, _: value < 20, aim_text="< 20 ms")


# ---- a host that hangs ----

def bench_hang(report, scratch):
    """GETs before, and while libvirtd is stopped in the middle of its work."""
    with PrivateLibvirt(os.path.join(scratch, "v")) as virt, Daemon(os.path.join(scratch, "b")) as daemon:
        define_domains(virt, 0, 50)
        add_host(daemon.local, "h1", virt.uri)
        add_host(daemon.local, "h2", "fake:///other?domains=50&running=25")
        wait_until(lambda: count_vms(daemon.local) == 100, 60, "all VMs are listed")
        wait_idle(daemon.pid)
        path = daemon.url("/vms/vm-00025")
        before = wrk(path, daemon.pid, connections=4, seconds=5, token=daemon.token)
        virt.pause_libvirtd()
        started = time.monotonic()
        try:
            during = wrk(path, daemon.pid, connections=4, seconds=10, token=daemon.token)
            state = daemon.local.get("/hosts/h1")["state"]
        finally:
            virt.resume_libvirtd()
        report.line(f"GET p99 while a host hangs (it is {state})", during.p99_ms, "ms", floor=before.p99_ms, digits=2,
                    aim=lambda value, floor: value <= 2 * floor or value - floor < 10, aim_text="<= 2 x before, or < 10 ms more")
        wait_until(lambda: daemon.local.get("/hosts/h1")["state"] == "ok", 60, "the host is up again")
        report.line("hang: libvirtd stood still for", time.monotonic() - started, "s")
