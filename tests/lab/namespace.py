# SPDX-License-Identifier: Apache-2.0
"""A private PID, mount, network, UTS, IPC and cgroup namespace, and commands inside it.

The namespace lives exactly as long as its first process (namespace_init.py): killing that one is how
a host dies, and the reason why nothing can be left behind. Only the cgroup directories need removing.
"""
import atexit
import contextlib
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import time

from .wait import wait_until

INIT = pathlib.Path(__file__).with_name("namespace_init.py")
CGROUP_PREFIX = "berth-lab-"
NUMBERS = itertools.count(1)
ENTER_FLAGS = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")


class CommandFailed(Exception):
    """A command ended with a non-zero status; the message has its standard error."""


def run(command, timeout=60, stdin=None, **kwargs):
    """Runs a command to its end and returns its standard output as text."""
    try:
        done = subprocess.run(command, input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout, check=False, **kwargs)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{' '.join(map(str, command))}: no answer in {timeout} s") from error
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(map(str, command))}: status {done.returncode}: "
                            f"{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class CgroupTree:
    """One directory of our own in every mounted cgroup hierarchy; becomes the namespace's root."""

    def __init__(self, name):
        self.mounts = []  # (mount point, file system type, options of the hierarchy)
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            before, after = line.split(" - ", 1)
            kind, _, options = after.split()[:3]
            point = pathlib.Path(before.split()[4])
            if kind in ("cgroup", "cgroup2"):
                self.mounts.append((point, kind, options))
        self.own = [point / name for point, _, _ in self.mounts]

    def create(self):
        """Makes the directories; a hierarchy that does not let us is left out."""
        self._remove_stale()
        usable = []
        for mount, path in zip(self.mounts, self.own):
            try:
                path.mkdir(exist_ok=True)
                self._inherit_cpuset(path)
                usable.append((mount, path))
            except OSError:
                continue
        self.mounts = [mount for mount, _ in usable]
        self.own = [path for _, path in usable]

    def _remove_stale(self):
        """Removes what suites left that were killed: their process id is in the name."""
        for point, _, _ in self.mounts:
            for top in point.glob(f"{CGROUP_PREFIX}*"):
                if not os.path.exists(f"/proc/{top.name.removeprefix(CGROUP_PREFIX).split('-')[0]}"):
                    with contextlib.suppress(OSError):
                        _rmdir_tree(top)

    @staticmethod
    def _inherit_cpuset(path):
        for name in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty means that nobody can join
            if (path / name).exists() and not (path / "cgroup.controllers").exists():
                (path / name).write_text((path.parent / name).read_text())

    def join(self):
        """Moves the calling process (a child before its exec) into the directories."""
        for path in self.own:
            (path / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self):
        """Removes the directories, deepest first, once their processes have ended."""
        for top in self.own:
            wait_until(lambda top=top: _rmdir_tree(top), 10, f"{top} removed")


def _rmdir_tree(top):
    for path, _, _ in os.walk(top, topdown=False):
        os.rmdir(path)
    return not top.exists()


class Namespace:
    """The namespace and its first process. start() and stop() may be called again and again."""

    def __init__(self, name):
        self.name = name
        self.cgroups = CgroupTree(f"{CGROUP_PREFIX}{os.getpid()}-{next(NUMBERS)}-{name}")
        self._unshare = None
        self.pid = None  # of the first process, as seen from outside

    def start(self):
        """Makes the namespace with its own /proc, /sys, /run and cgroup root."""
        self.cgroups.create()
        atexit.register(self.stop)
        self._unshare = subprocess.Popen(
            ["unshare", "--cgroup", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork",
             "--mount-proc", "--kill-child", sys.executable, "-I", "-S", str(INIT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            preexec_fn=self.cgroups.join, start_new_session=True)
        if self._unshare.stdout.readline() != b"ready\n":
            self.stop()
            raise CommandFailed("unshare: no private namespace (root is needed)")
        children = pathlib.Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        self.pid = int(children.read_text().split()[0])
        self._mount_own()

    def _mount_own(self):
        lines = ["mount -t sysfs sysfs /sys", "mount -t tmpfs -o mode=755 tmpfs /run",
                 "ip link set lo up", f"hostname {self.name}"]
        if self.cgroups.mounts:
            lines.append("mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup")
        for point, kind, options in sorted(self.cgroups.mounts, key=lambda m: len(m[0].parts)):
            wanted = [o for o in options.split(",")
                      if o not in ("rw", "ro", "clone_children") and not o.startswith("release_agent=")]
            given = f"-o '{','.join(wanted)}'" if wanted and kind == "cgroup" else ""
            lines.append(f"mkdir -p {point} && mount -t {kind} {given} {kind} {point}")
        if os.path.exists("/dev/kvm"):
            # A regular file that is read-only even for root: libvirt then finds no KVM and keeps
            # its cache of QEMU's capabilities instead of probing anew at every define.
            lines.append("touch /run/no-kvm && chmod 0 /run/no-kvm && mount --bind /run/no-kvm /dev/kvm"
                         " && mount -o remount,bind,ro /dev/kvm")
        self.shell("set -e\n" + "\n".join(lines))

    def is_running(self):
        """Whether the first process is there."""
        return self._unshare is not None and self._unshare.poll() is None

    def command(self, *words):
        """The given command wrapped so that it runs inside."""
        return ["nsenter", "--target", str(self.pid), *ENTER_FLAGS, "--wd=/", "--", *map(str, words)]

    def run(self, *words, timeout=60):
        """Runs a command inside and returns its output."""
        return run(self.command(*words), timeout, preexec_fn=self.cgroups.join)

    def shell(self, script, timeout=60):
        """Runs shell lines inside."""
        return self.run("sh", "-c", script, timeout=timeout)

    def start_daemon(self, log_path, *words, timeout=60):
        """Runs a command that puts itself into the background; its output goes to a file."""
        with open(log_path, "ab") as log:
            status = subprocess.run(self.command(*words), stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=log, timeout=timeout, preexec_fn=self.cgroups.join,
                                    check=False).returncode
        if status != 0:
            raise CommandFailed(f"{words[0]}: status {status}, see {log_path}")

    def processes(self):
        """The processes inside as {pid seen from outside: [argument, ...]}, without the first one."""
        found = {}
        try:
            own = os.readlink(f"/proc/{self.pid}/ns/pid")
        except OSError:
            return found
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == self.pid:
                continue
            try:
                if os.readlink(f"/proc/{entry}/ns/pid") == own:
                    words = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                    if words != [b""]:  # a zombie has none
                        found[int(entry)] = [w.decode(errors="replace") for w in words[:-1]]
            except OSError:
                continue  # it ended meanwhile
        return found

    def pids_of(self, program):
        """The processes whose program has this base name."""
        return [pid for pid, words in self.processes().items()
                if os.path.basename(words[0]) == program]

    def signal_all(self, number):
        """Sends a signal to every process inside except the first one."""
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def stop(self):
        """Ends everything inside; returns when it is gone."""
        if self._unshare is not None:
            if self.pid is not None and self.is_running():
                try:
                    os.kill(self.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self._unshare.stdin.close()
            self._unshare.wait(timeout=60)
            self._unshare.stdout.close()
        self._unshare = None
        self.pid = None
        self.cgroups.remove()
        atexit.unregister(self.stop)


def kill_and_wait(pid, number, deadline_seconds=30):
    """Sends a signal and waits until the process is gone (or a zombie nobody needs)."""
    os.kill(pid, number)
    end = time.monotonic() + deadline_seconds
    while time.monotonic() < end:
        try:
            state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} still there {deadline_seconds} s after signal {number}")
