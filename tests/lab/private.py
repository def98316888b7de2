# SPDX-License-Identifier: Apache-2.0
"""One virtual host: libvirtd and virtlogd of its own in a private namespace.

Everything it keeps lies under its directory; guests' QEMU processes live in the namespace and survive
a restart of libvirtd, as on a real host. The unix socket and all files are reachable from outside.
"""
import os
import pathlib
import shutil
import signal
import uuid

from .namespace import CommandFailed, Namespace, kill_and_wait, run
from .wait import wait_until

BOUND = {"etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "run": "/run/libvirt",
         "log": "/var/log/libvirt", "cache": "/var/cache/libvirt"}
SOCKET_PATH_MAX = 107

LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
listen_tls = 0
listen_tcp = {tcp}
auth_tcp = "none"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

# Root runs QEMU, because a test's folders are closed to others; files keep their owners. libvirt's own
# mount namespaces cannot cope with a mount over /dev/kvm (namespace.py says why there is one).
QEMU_CONF = """\
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
namespaces = [ ]
stdio_handler = "logd"
"""

DEFAULT_NETWORK = """\
<network>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='off' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>
  </ip>
</network>
"""


class PrivateLibvirt:
    """A host to test against. Use it as a context manager, or start() and stop() it.

    dir          everything of this host; must be short, because a unix socket lies in it
    uri          for programs outside the namespace
    images_dir   for disks: the same path inside and outside
    log_dir      libvirtd.log, qemu/NAME.log, and whatever a test wants to log
    """

    def __init__(self, directory, name="host", listen_tcp=False, default_network=True):
        self.dir = pathlib.Path(directory).resolve()
        self.name = name
        self.listen_tcp = listen_tcp
        self.default_network = default_network
        self.host_uuid = str(uuid.uuid4())
        self.namespace = Namespace(name)
        self.images_dir = self.dir / "images"
        self.log_dir = self.dir / "log"
        self.socket = self.dir / "run" / "libvirt-sock"
        self.uri = f"qemu+unix:///system?socket={self.socket}"
        if len(str(self.socket)) > SOCKET_PATH_MAX:
            raise ValueError(f"{self.socket}: longer than {SOCKET_PATH_MAX} characters")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # ------------------------------------------------------------ start and stop

    def start(self, before_daemons=None):
        """Boots the host. Calling it again after stop() or a kill boots it with its files kept."""
        try:
            self._write_files()
            self.namespace.start()
            for part, target in BOUND.items():
                self.namespace.shell(f"mkdir -p {target} && mount --bind '{self.dir / part}' {target}")
            if before_daemons:
                before_daemons()
            self.namespace.start_daemon(self.log_dir / "virtlogd.out", "virtlogd", "-d")
            self._start_libvirtd()
            if self.default_network:
                self._start_default_network()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """Ends every process of the host at once; its files stay where they are."""
        self.namespace.stop()

    def _write_files(self):
        for part in (*BOUND, "images"):
            (self.dir / part).mkdir(parents=True, exist_ok=True)
        for old in (self.dir / "run").iterdir():  # as after a boot
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        etc = self.dir / "etc"
        etc.joinpath("libvirtd.conf").write_text(
            LIBVIRTD_CONF.format(uuid=self.host_uuid, tcp=int(self.listen_tcp)))
        etc.joinpath("qemu.conf").write_text(QEMU_CONF)
        for name in ("virtlogd.conf", "libvirt.conf"):
            etc.joinpath(name).touch()
        if os.path.isdir("/etc/libvirt/nwfilter") and not (etc / "nwfilter").exists():
            shutil.copytree("/etc/libvirt/nwfilter", etc / "nwfilter")

    def _start_libvirtd(self):
        words = ["libvirtd", "-d"] + (["-l"] if self.listen_tcp else [])
        # Again, as its systemd unit does: a child that an earlier one forked may hold the lock of the pid file for a moment.
        wait_until(lambda: self.namespace.start_daemon(self.log_dir / "libvirtd.out", *words) or True, 20,
                   "libvirtd starts", interval_seconds=0.5)
        wait_until(self.socket.exists, 30, f"{self.socket} exists")

    def _start_default_network(self):
        if "default" not in self.virsh("net-list", "--all", "--name").split():
            definition = self.dir / "default-network.xml"
            definition.write_text(DEFAULT_NETWORK)
            self.virsh("net-define", definition)
            self.virsh("net-autostart", "default")
        if "default" not in self.virsh("net-list", "--name").split():
            self.virsh("net-start", "default")

    # ------------------------------------------------------------ libvirtd's fate

    def libvirtd_pid(self):
        """The process id of libvirtd as seen from outside, or None."""
        pids = self.namespace.pids_of("libvirtd")
        return min(pids) if pids else None

    def _libvirtd(self):
        pid = self.libvirtd_pid()
        if pid is None:
            raise CommandFailed(f"{self.name}: libvirtd does not run")
        return pid

    def kill_libvirtd(self, number=signal.SIGKILL):
        """Ends libvirtd by a signal and waits until it is gone."""
        pid = self._libvirtd()
        if number == signal.SIGKILL:
            os.kill(pid, signal.SIGCONT)
        kill_and_wait(pid, number, deadline_seconds=60)

    def start_libvirtd(self):
        """Starts libvirtd again after kill_libvirtd()."""
        self._start_libvirtd()

    def revive_libvirtd(self):
        """Starts libvirtd if it has crashed, as its systemd unit does (Restart=on-failure); whether it had.

        libvirtd 9.0 now and then does when a client dies while it registers for events ("unexpected incomplete domain
        callback", then a segmentation fault).
        """
        if self.libvirtd_pid() is not None:
            return False
        self._start_libvirtd()
        return True

    def restart_libvirtd(self):
        """A restart as an upgrade does it: the guests go on running."""
        self.kill_libvirtd(signal.SIGTERM)
        self._start_libvirtd()

    def pause_libvirtd(self):
        """libvirtd stops answering, its connections stay open."""
        os.kill(self._libvirtd(), signal.SIGSTOP)

    def resume_libvirtd(self):
        """libvirtd goes on after pause_libvirtd()."""
        os.kill(self._libvirtd(), signal.SIGCONT)

    # ------------------------------------------------------------ looking and asking

    def qemu_pids(self):
        """The guests' QEMU processes as {domain name: process id seen from outside}."""
        pids = {}
        for pid, words in self.namespace.processes().items():
            if os.path.basename(words[0]).startswith("qemu-system-") and "-name" in words:
                guest = words[words.index("-name") + 1]
                pids[guest.removeprefix("guest=").split(",")[0]] = pid
        return pids

    def virsh(self, *args, timeout=60, stdin=None):
        """Runs virsh from outside against this host and returns its output."""
        return run(["virsh", "-q", "-c", self.uri, *map(str, args)], timeout, stdin)

    def define(self, xml, start=True):
        """Defines a domain from XML and starts it."""
        path = self.dir / f"define-{uuid.uuid4().hex}.xml"
        path.write_text(xml)
        try:
            self.virsh("define", path)
        finally:
            path.unlink()
        if start:
            name = xml.split("<name>", 1)[1].split("</name>", 1)[0]
            self.virsh("start", name)
