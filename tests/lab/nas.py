# SPDX-License-Identifier: Apache-2.0
"""NAS: an NFS server in user space (Ganesha), and a folder that several hosts share (GlusterFS over FUSE).

The kernel here has no NFS: QEMU reaches the NFS server by itself (libnfs).
"""
import pathlib

from .service import Service
from .wait import wait_until

GANESHA = """\
NFS_CORE_PARAM {{ NFS_Protocols = 3,4; NFS_Port = 2049; MNT_Port = 20048; Enable_NLM = false;
    Enable_RQUOTA = false; Enable_UDP = false; }}
NFS_KRB5 {{ Active_krb5 = false; }}
NFSV4 {{ Graceless = true; RecoveryBackend = fs; RecoveryRoot = "{dir}/recovery"; }}
EXPORT {{ Export_Id = 1; Path = {dir}/export; Pseudo = /export; Protocols = 3,4; Access_Type = RW;
    Squash = No_Root_Squash; SecType = sys; Transports = TCP; FSAL {{ Name = VFS; }} }}
"""
GLUSTERD = """\
volume management
    type mgmt/glusterd
    option working-directory /var/lib/glusterd
    option transport-type socket
end-volume
"""


class NfsServer:
    """Exports the folder `export` at 127.0.0.1 of a host's namespace. A context manager."""

    def __init__(self, virt, directory):
        self.virt = virt
        self.dir = pathlib.Path(directory).resolve()
        self.export = self.dir / "export"
        self.server = "127.0.0.1"
        self.services = []

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Starts the port mapper and the server."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self):
        for name in ("export", "recovery"):
            (self.dir / name).mkdir(parents=True, exist_ok=True)
        conf = self.dir / "ganesha.conf"
        conf.write_text(GANESHA.format(dir=self.dir))
        namespace = self.virt.namespace
        namespace.shell("mkdir -p /run/rpcbind /run/ganesha")
        self.services.append(Service(namespace, self.dir / "rpcbind.out", "rpcbind", "-f").start())
        wait_until(lambda: namespace.run("rpcinfo", "-p", "127.0.0.1"), 30, "rpcbind answers")
        self.services.append(Service(namespace, self.dir / "ganesha.out", "ganesha.nfsd", "-F", "-f",
                                     conf, "-L", self.dir / "ganesha.log", "-p",
                                     self.dir / "ganesha.pid", "-C").start())
        wait_until(lambda: namespace.run("rpcinfo", "-t", "127.0.0.1", "100003", "3"), 30,
                   "the NFS server answers")

    def stop(self):
        """Ends both."""
        while self.services:
            self.services.pop().stop()


class SharedFolder:
    """One GlusterFS volume of the fleet's first host, mounted by all its hosts at `path`.

    A context manager. As on a real NAS, a file made by one host is seen by the others, and QEMU's
    image locks hold across hosts.
    """

    def __init__(self, fleet, directory):
        self.fleet = fleet
        self.dir = pathlib.Path(directory).resolve()
        self.path = self.dir / "shared"
        self.glusterd = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Starts the server, makes the volume and mounts it on every host."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self):
        for name in ("brick", "shared", "lib/vols", "lib/peers", "lib/groups", "lib/hooks", "log"):
            (self.dir / name).mkdir(parents=True, exist_ok=True)
        for host in self.fleet.hosts:
            host.namespace.shell(
                f"set -e; mkdir -p /run/gluster /var/log/glusterfs /var/lib/glusterd\n"
                f"mount --bind '{self.dir}/log' /var/log/glusterfs\n"
                f"mount --bind '{self.dir}/lib' /var/lib/glusterd")
        server = self.fleet.hosts[0].namespace
        volume_file = self.dir / "glusterd.vol"
        volume_file.write_text(GLUSTERD)
        self.glusterd = Service(server, self.dir / "glusterd.out", "glusterd", "-N", "-f", volume_file,
                                "-p", self.dir / "glusterd.pid", "-l", self.dir / "log/d.log").start()
        wait_until(lambda: server.run("gluster", "pool", "list"), 60, "glusterd answers")
        address = self.fleet.address(0)
        server.run("gluster", "--mode=script", "volume", "create", "v", f"{address}:{self.dir}/brick",
                   "force")
        server.run("gluster", "--mode=script", "volume", "start", "v")
        for host in self.fleet.hosts:
            wait_until(lambda host=host: host.namespace.run(
                "mount", "-t", "glusterfs", f"{address}:/v", self.path) or True, 60,
                f"{host.name} mounts the folder")

    def stop(self):
        """Unmounts it and ends the server."""
        for host in self.fleet.hosts:
            if host.namespace.is_running():
                host.namespace.shell(f"umount -l '{self.path}' 2>/dev/null; true")
        if self.glusterd:
            server = self.fleet.hosts[0].namespace
            if server.is_running():
                server.shell("gluster --mode=script volume stop v force >/dev/null 2>&1; true")
            self.glusterd.stop()
            self.glusterd = None
