# SPDX-License-Identifier: Apache-2.0
"""What tools/demo and tools/demo-stop share: places, notes of what the demo started, the API, libvirt.

Whatever the demo starts or makes is noted before it happens, so that demo-stop, even after a crash, takes away
exactly that and nothing that was there before.
"""
import fcntl
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
BERTHD = TOP / "build/berthd"
GUEST = TOP / "build/guest"

HOME = pathlib.Path("/var/lib/berth-demo")
STATE = HOME / "state"
SOCKET = STATE / "berth.sock"
CONFIG = HOME / "berth.conf"
LOG = HOME / "berthd.log"
NOTES = HOME / "notes.json"
POOL = pathlib.Path("/var/lib/libvirt/images/berth-demo")
BOOT = pathlib.Path("/var/lib/libvirt/boot/berth-demo")
GUEST_LOGS = pathlib.Path("/var/log/libvirt/qemu")

BOOT_GUEST = {"kernel": str(BOOT / "vmlinuz"), "initrd": str(BOOT / "initramfs.cpio.gz"),
              "cmdline": "console=ttyS0 quiet panic=-1"}

VM = "berth-demo"
NETWORK = "default"
LIBVIRT_POOL = "berth-default"
LIBVIRT_URI = "qemu:///system"
DEFAULT_PORT = 8470


class DemoError(Exception):
    """Said to the user as it is."""


def wait_until(condition, seconds, what, interval=0.05):
    """Calls condition() until it answers something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise DemoError(f"gave up after {seconds} s: {what}")
        time.sleep(interval)


# ------------------------------------------------------------ notes


class Notes:
    """A small JSON file, rewritten at every change. Holding it keeps a second demo out."""

    def __init__(self):
        HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._lock = open(HOME / "lock", "w", encoding="ascii")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError("another demo or demo-stop is at work") from None
        self.values = json.loads(NOTES.read_text()) if NOTES.exists() else {}

    def get(self, key, default=None):
        return self.values.get(key, default)

    def set(self, key, value):
        self.values[key] = value
        fresh = NOTES.with_suffix(".new")
        fresh.write_text(json.dumps(self.values, indent=1) + "\n")
        fresh.rename(NOTES)


# ------------------------------------------------------------ processes


def start_time(pid):
    """Since when that process runs, in the kernel's ticks; None if there is none. Pids are used again."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if stat[0] == "Z" else int(stat[19])


def is_alive(process):
    """Whether a noted process ([pid, start time]) is still that one."""
    return bool(process) and start_time(process[0]) == process[1]


def stop_process(process, seconds=30):
    """Asks a noted process to end, and waits; True if it was there."""
    if not is_alive(process):
        return False
    os.kill(process[0], signal.SIGTERM)
    wait_until(lambda: not is_alive(process), seconds, f"process {process[0]} did not end")
    return True


# ------------------------------------------------------------ libvirt


def virsh(*words, timeout=60):
    """Runs virsh and returns its output; DemoError with its message."""
    try:
        done = subprocess.run(["virsh", "-q", "-c", LIBVIRT_URI, *map(str, words)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout, check=False,
                              env={**os.environ, "LC_ALL": "C"})
    except subprocess.TimeoutExpired:
        raise DemoError(f"virsh {words[0]}: no answer from {LIBVIRT_URI} in {timeout} s") from None
    if done.returncode != 0:
        raise DemoError(f"virsh {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def libvirt_answers():
    try:
        virsh("uri", timeout=20)
        return True
    except DemoError:
        return False


def can_connect(path):
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
            return True
        except OSError:
            return False


def kvm_misleads():
    """/dev/kvm is there, but the processor cannot virtualize: see tools/without-kvm."""
    if not os.path.exists("/dev/kvm") or os.uname().machine != "x86_64":
        return False
    return not re.search(r"^flags\s*:.*\b(vmx|svm)\b", pathlib.Path("/proc/cpuinfo").read_text(), re.M)


def start_daemon(notes, name, wrapper=()):
    """Starts a daemon of libvirt that puts itself into the background, and notes it."""
    pid_file = HOME / f"{name}.pid"
    with open(HOME / f"{name}.out", "ab") as output:
        subprocess.run([*wrapper, name, "-d", "-p", pid_file], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                       check=True, start_new_session=True, cwd="/")
    pid = int(wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), 10, f"{name} has no pid"))
    notes.set(name, [pid, start_time(pid)])


def ensure_libvirt(notes):
    """Starts libvirt's daemons if nothing answers. Returns how it came that it answers."""
    if libvirt_answers():
        return "started by an earlier demo" if is_alive(notes.get("libvirtd")) else "was there before"
    how = "started by the demo"
    # A network that is active outlives libvirtd: remember which, before libvirtd starts any.
    if notes.get("network_was_active") is None:
        notes.set("network_was_active", pathlib.Path(f"/run/libvirt/network/{NETWORK}.xml").exists())
    if pathlib.Path("/run/systemd/system").exists():
        notes.set("systemd_units", ["libvirtd.service", "libvirtd.socket", "libvirtd-ro.socket",
                                    "libvirtd-admin.socket", "virtlogd.service", "virtlogd.socket"])
        subprocess.run(["systemctl", "start", "virtlogd.socket", "libvirtd.service"], check=True)
    else:
        if not can_connect("/run/libvirt/virtlogd-sock"):
            start_daemon(notes, "virtlogd")
        misleads = kvm_misleads()
        start_daemon(notes, "libvirtd", [TOP / "tools/without-kvm"] if misleads else [])
        how = "started by the demo, without the /dev/kvm that cannot run guests here" if misleads else how
    wait_until(libvirt_answers, 60, f"nothing answers on {LIBVIRT_URI}", 0.2)
    return how


def stop_libvirt(notes):
    """Stops what the demo started of libvirt; returns what was done, as a sentence."""
    ours = [name for name in ("libvirtd", "virtlogd") if is_alive(notes.get(name))]
    if not ours and not notes.get("systemd_units"):
        return "libvirtd was there before the demo and stays"
    running = virsh("list", "--name").split()
    if running:
        return f"libvirtd stays, because these VMs are running: {', '.join(running)}"
    if notes.get("systemd_units"):
        subprocess.run(["systemctl", "stop", *notes.get("systemd_units")], check=True)
        return "libvirtd is stopped"
    for name in ours:
        stop_process(notes.get(name))
    return f"{' and '.join(ours)} stopped"


def ensure_network(notes):
    """The network's name if it is (now) active, else None."""
    if NETWORK not in virsh("net-list", "--all", "--name").split():
        return None
    is_active = NETWORK in virsh("net-list", "--name").split()
    if notes.get("network_was_active") is None:
        notes.set("network_was_active", is_active)
    if is_active:
        return NETWORK
    try:
        virsh("net-start", NETWORK)
    except DemoError:
        return None
    return NETWORK


def stop_network(notes):
    """Ends the network if it was the demo that began it and nobody uses it."""
    if notes.get("network_was_active") is not False or NETWORK not in virsh("net-list", "--name").split():
        return None
    if virsh("net-port-list", NETWORK).strip():
        return f"network {NETWORK} stays, because it is in use"
    virsh("net-destroy", NETWORK)
    return f"network {NETWORK} is inactive again"


def ensure_pool_path(notes):
    """Where the pool lies: the demo's own place, unless there is such a pool already, which then stays."""
    if notes.get("pool_is_ours") is None:
        notes.set("pool_is_ours", LIBVIRT_POOL not in virsh("pool-list", "--all", "--name").split())
    if notes.get("pool_is_ours"):
        return POOL
    xml = virsh("pool-dumpxml", LIBVIRT_POOL)
    return pathlib.Path(xml.split("<path>", 1)[1].split("</path>", 1)[0])


def remove_pool(notes):
    """Removes the libvirt pool and its directory if the demo made them and they are empty."""
    if not notes.get("pool_is_ours"):
        return None
    is_there = LIBVIRT_POOL in virsh("pool-list", "--all", "--name").split()
    if not is_there and not POOL.exists():
        return None
    if is_there:
        is_active = LIBVIRT_POOL in virsh("pool-list", "--name").split()
        left = virsh("vol-list", LIBVIRT_POOL).strip() if is_active else ""
        if left:
            return f"pool {LIBVIRT_POOL} stays, because it is not empty:\n{left}"
        if is_active:
            virsh("pool-destroy", LIBVIRT_POOL)
        virsh("pool-undefine", LIBVIRT_POOL)
    if POOL.exists():
        try:
            POOL.rmdir()
        except OSError:
            return f"{POOL} stays, because it is not empty"
    return f"pool {LIBVIRT_POOL} is removed"


# ------------------------------------------------------------ berthd and its API


class UnixConnection(http.client.HTTPConnection):
    """HTTP over berthd's unix socket, where root is an administrator."""

    def __init__(self, timeout):
        super().__init__("localhost", timeout=timeout)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(SOCKET))


def request(method, path, body=None, timeout=30):
    """(status, answer), the answer as text or, if it is JSON, as what it says. Bytes are sent as they are."""
    connection = UnixConnection(timeout)
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    if isinstance(body, bytes):
        kind = "application/octet-stream"
    elif body is not None:
        body = json.dumps(body)
    headers = {} if body is None else {"Content-Type": kind}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    finally:
        connection.close()
    is_json = "json" in response.getheader("Content-Type", "")
    return response.status, json.loads(text) if is_json and text else text


def call(method, path, body=None, timeout=30):
    """What /api/v1 answers; a problem becomes a DemoError with its words."""
    status, answer = request(method, "/api/v1" + path, body, timeout)
    if status >= 300:
        said = answer if isinstance(answer, dict) else {}
        words = [said.get("title") or f"status {status}", said.get("detail"), said.get("hint")]
        words += [f"{x.get('pointer')}: {x.get('detail')}" for x in said.get("errors") or []]
        raise DemoError(f"{method} {path}: " + "; ".join(w for w in words if w))
    return answer


def act(method, path, body=None, wait=120):
    """A mutation, held until its operation has ended: the operation, which must have succeeded."""
    joint = "&" if "?" in path else "?"
    operation = call(method, f"{path}{joint}wait={wait}", body, timeout=wait + 10)
    if isinstance(operation, dict) and operation.get("state") not in (None, "succeeded"):
        raise DemoError(f"{method} {path}: the operation is {operation['state']}: {operation.get('reason')}")
    return operation


def is_ready():
    try:
        return request("GET", "/readyz", timeout=5)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def free_port():
    """The usual port if it is free, else any."""
    for port in (DEFAULT_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return probe.getsockname()[1]
            except OSError:
                continue
    raise DemoError("no free port on 127.0.0.1")


def write_config(pool_path, port):
    CONFIG.write_text(f"""\
# berthd as the demo runs it: everything of its own, nothing shared with an installed one.
state_dir = {STATE}

[api]
listen = 127.0.0.1:{port}

[storage]
pool_path = {pool_path}

[guests]
boot_directories = {BOOT}
""")


def start_berthd(notes):
    """Starts berthd in the background and waits until it serves."""
    with open(LOG, "ab") as log:
        environment = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID")}
        process = subprocess.Popen([BERTHD, "--config", CONFIG], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   cwd="/", env=environment, start_new_session=True)
    notes.set("berthd", [process.pid, start_time(process.pid)])

    def served():
        if process.poll() is not None:
            raise DemoError(f"berthd ended with status {process.returncode}:\n{tail_of_log()}")
        return is_ready()

    wait_until(served, 30, f"berthd does not serve; see {LOG}", 0.01)
    return process


def tail_of_log(lines=8):
    return "\n".join(LOG.read_text(errors="replace").splitlines()[-lines:]) if LOG.exists() else ""


def remove_files(notes):
    """The demo's files, and the logs of the VMs that were made."""
    for vm_id, name in notes.get("made_vms", []):
        for path in [*GUEST_LOGS.glob(f"berth-{vm_id}.console.log*"), GUEST_LOGS / f"{name}.log"]:
            path.unlink(missing_ok=True)
    shutil.rmtree(BOOT, ignore_errors=True)
    shutil.rmtree(HOME)
