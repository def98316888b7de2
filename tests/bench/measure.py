# SPDX-License-Identifier: Apache-2.0
"""What all figures need: the daemon and its floors as processes, wrk, CPU time, memory, and the printed line."""
import os
import re
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAMS = os.path.join(ROOT, "build/bench")
BERTHD = os.environ.get("BERTHD", os.path.join(ROOT, "build/berthd"))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests/integration")]

from berth import Berthd  # noqa: E402  pylint: disable=wrong-import-position
from lab import wait_until  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")


class Report:
    """One line per figure."""

    def __init__(self):
        self.n = self.missed = 0

    def head(self):
        print(f"{'figure':46} {'value':>14} {'floor':>14} {'ratio':>7}   aim", flush=True)

    def line(self, name, value, unit, *, floor=None, aim=None, aim_text="", digits=1):
        """`aim` is a function of (value, floor) that says whether the aim is met; None: only to be seen."""
        self.n += 1
        ratio = f"{value / floor:.2f}" if floor else ""
        floor_text = f"{floor:,.{digits}f}" if floor is not None else ""
        verdict = ""
        if aim:
            met = aim(value, floor)
            self.missed += not met
            verdict = "ok" if met else "MISS"
        print(f"{name:46} {value:>10,.{digits}f} {unit:3} {floor_text:>14} {ratio:>7}   {aim_text:34} {verdict}".rstrip(),
              flush=True)


def percentile(samples, share):
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


# ---- processes ----

def cpu_seconds(pid):
    """User and system time of all threads, those that have ended included."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid):
    """Resident memory, and the anonymous part of it."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        text = status.read()
    return [int(re.search(rf"{name}:\s+(\d+)", text).group(1)) / 1024 for name in ("VmRSS", "RssAnon")]


class Program:
    """A floor's process: it says one line when it serves and ends with its input."""

    def __init__(self, name, *words):
        self.process = subprocess.Popen([os.path.join(PROGRAMS, name), *map(str, words)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid
        self.first_line = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def key_values(name, *words):
    """The key=value pairs that a bench program prints."""
    text = subprocess.run([os.path.join(PROGRAMS, name), *map(str, words)], text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    return {key: float(value) for key, value in re.findall(r"(\w+)=([0-9.]+)", text)}


class Daemon(Berthd):
    """berthd as released, with a token to use over TCP."""

    def __init__(self, directory, *arguments):
        super().__init__(directory, "--no-local-host", "--set", "log_level=info", "--set", "hosts.allow_fake=true",
                         "--set", "api.max_connections_per_ip=1000", *arguments, binary=BERTHD)
        self.token = None

    def start(self, *more, deadline=30):
        super().start(*more, deadline=deadline)
        if not self.token:
            self.token = self.local.ok("POST", "/tokens", {"name": "bench", "role": "admin"}).json["secret"]
        return self

    @property
    def pid(self):
        return self.process.pid

    def url(self, path):
        return f"http://127.0.0.1:{self.port}/api/v1{path}"


def add_host(api, name, uri):
    api.ok("POST", "/hosts", {"name": name, "uri": uri})
    wait_until(lambda: api.get(f"/hosts/{name}")["state"] == "ok", 60, f"host {name} is up")


def wait_idle(pid, deadline=120, below=0.02):
    """Until the process has nothing left to do: two half seconds with hardly any CPU time."""
    end = time.monotonic() + deadline
    quiet = 0
    while quiet < 2:
        before = cpu_seconds(pid)
        time.sleep(0.5)
        quiet = quiet + 1 if cpu_seconds(pid) - before <= below else 0
        if time.monotonic() > end:
            raise AssertionError(f"process {pid} is not idle after {deadline} s")


# ---- load ----

class Load:
    """What one run of wrk said, and the server's CPU time per request."""

    def __init__(self, text, cpu):
        self.rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
        self.requests = int(re.search(r"(\d+) requests in", text).group(1))
        self.cpu_us = cpu * 1e6 / max(self.requests, 1)
        self.p50_ms, self.p99_ms = (self._latency(text, share) for share in ("50", "99"))
        if "Non-2xx" in text or "Socket errors" in text:
            raise AssertionError(f"wrk saw errors:\n{text}")

    @staticmethod
    def _latency(text, share):
        value, unit = re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s)$", text, re.M).groups()
        return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def wrk(url, pid, *, connections=16, seconds=2, token=None, script=None):
    words = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds}s"]
    if token:
        words += ["-H", f"Authorization: Bearer {token}"]
    if script:
        words += ["-s", script]
    before = cpu_seconds(pid)
    text = subprocess.run([*words, url], text=True, check=True, stdout=subprocess.PIPE).stdout
    return Load(text, cpu_seconds(pid) - before)


def best(loads):
    """The machine is shared: of several rounds the one that was disturbed least."""
    return max(loads, key=lambda load: load.rate)


def median(samples):
    return statistics.median(samples)


def in_threads(n, work):
    """work(i) for i in range(n), each in a thread of its own; the first exception is raised."""
    failures = []

    def guarded(i):
        try:
            work(i)
        except BaseException as error:  # pylint: disable=broad-except
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
