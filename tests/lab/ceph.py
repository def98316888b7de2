# SPDX-License-Identifier: Apache-2.0
"""A Ceph cluster in memory (one monitor, manager and OSD on memstore) inside a host's namespace."""
import pathlib
import uuid

from .service import Service
from .wait import wait_until

ADDRESSES = "v2:127.0.0.1:3300,v1:127.0.0.1:6789"
# A disk of the test machine that is nearly full would otherwise stop the monitor.
CONF = """\
[global]
fsid = {fsid}
mon_host = {addresses}
public_network = 127.0.0.0/8
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_crit = 1
mon_data_avail_warn = 1
osd_objectstore = memstore
memstore_device_bytes = {device_bytes}
run_dir = {dir}
pid_file = {dir}/$name.pid
admin_socket = {dir}/$name.asok
log_file = {dir}/$name.log
crash_dir = {dir}
keyring = {dir}/keyring
[mon.a]
mon_data = {dir}/mon
[osd.0]
osd_data = {dir}/osd
[mgr.x]
mgr_data = {dir}/mgr
"""


class Ceph:
    """One pool, `pool`, and a user who may use it: `user` with `key` (base64). A context manager."""

    def __init__(self, virt, directory, pool="vm", device_mib=2048):
        self.virt = virt
        self.dir = pathlib.Path(directory).resolve()
        self.pool = pool
        self.device_mib = device_mib
        self.monitor = "127.0.0.1:6789"
        self.user = "libvirt"
        self.key = None
        self.fsid = str(uuid.uuid4())
        self.services = []

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Starts the cluster; about 10 s."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self):
        for name in ("mon", "osd", "mgr"):
            (self.dir / name).mkdir(parents=True, exist_ok=True)
        self.conf = self.dir / "ceph.conf"
        self.conf.write_text(CONF.format(fsid=self.fsid, addresses=ADDRESSES, dir=self.dir,
                                         device_bytes=self.device_mib << 20))
        self._make_keyring()
        self._run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", f"[{ADDRESSES}]",
                  self.dir / "monmap")
        self._run("ceph-mon", "-c", self.conf, "-i", "a", "--mkfs", "--monmap", self.dir / "monmap",
                  "--keyring", self.dir / "keyring")
        self._serve("ceph-mon", "a")
        wait_until(lambda: self.ceph("mon", "stat"), 60, "the monitor answers")
        self._serve("ceph-mgr", "x")
        osd = str(uuid.uuid4())
        self.ceph("osd", "new", osd)
        self._run("ceph-osd", "-c", self.conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._serve("ceph-osd", "0")
        wait_until(lambda: "1 up" in self.ceph("osd", "stat"), 60, "the OSD is up")
        self.ceph("osd", "pool", "create", self.pool, 8)
        self._run("rbd", "-c", self.conf, "pool", "init", self.pool)
        self.ceph("auth", "get-or-create", f"client.{self.user}", "mon", "profile rbd", "osd",
                  f"profile rbd pool={self.pool}")
        self.key = self.ceph("auth", "get-key", f"client.{self.user}").strip()

    def _make_keyring(self):
        keyring = self.dir / "keyring"
        everything = [word for part in ("mon", "osd", "mgr") for word in ("--cap", part, "allow *")]
        for name, caps in (
                ("mon.", ["--cap", "mon", "allow *"]),
                ("client.admin", everything),
                ("mgr.x", ["--cap", "mon", "allow profile mgr", "--cap", "osd", "allow *"]),
                ("osd.0", ["--cap", "mon", "allow profile osd", "--cap", "mgr", "allow profile osd",
                           "--cap", "osd", "allow *"])):
            create = [] if keyring.exists() else ["--create-keyring"]
            self._run("ceph-authtool", keyring, *create, "--gen-key", "-n", name, *caps)

    def _run(self, *words):
        return self.virt.namespace.run(*words, timeout=60)

    def ceph(self, *words):
        """A command of the ceph tool, as the administrator."""
        return self._run("ceph", "-c", self.conf, "--connect-timeout", "10", *words)

    def rbd(self, *words):
        """A command of the rbd tool, as the administrator."""
        return self._run("rbd", "-c", self.conf, *words)

    def _serve(self, program, name):
        self.services.append(Service(self.virt.namespace, self.dir / f"{program}.out", program, "-c",
                                     self.conf, "-i", name, "-f").start())

    def stop(self):
        """Ends all daemons, the monitor last; what was stored is gone."""
        while self.services:
            self.services.pop().stop()
