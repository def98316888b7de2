# SPDX-License-Identifier: Apache-2.0
"""A SAN: an iSCSI target with LUNs in files (tgt), inside a host's namespace."""
import pathlib

from .service import Service
from .wait import wait_until

TARGET = "iqn.2020-01.org.example:disks"
INITIATOR = "iqn.2020-01.org.example:initiator"


class San:
    """LUN 1, 2, ... of the given sizes at `address`. A context manager; its files outlive stop()."""

    def __init__(self, virt, directory, sizes_mib=(64,), chap=None, address="127.0.0.1:3260"):
        self.virt = virt
        self.dir = pathlib.Path(directory)
        self.sizes_mib = sizes_mib
        self.chap = chap  # (user, password)
        self.address = address
        self.target = TARGET
        self.initiator = INITIATOR
        self.service = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def lun_file(self, number):
        """The file behind a LUN."""
        return self.dir / f"lun{number}"

    def start(self):
        """Starts the target, at first or again after stop(): the same LUNs with what was written."""
        self.dir.mkdir(parents=True, exist_ok=True)
        namespace = self.virt.namespace
        namespace.shell("mkdir -p /run/tgtd")
        self.service = Service(namespace, self.dir / "tgtd.log", "tgtd", "-f", "--iscsi",
                               f"portal={self.address}").start()
        wait_until(lambda: self._admin("sys", "show") or True, 30, "tgtd answers")
        self._admin("target", "new", "--tid", 1, "--targetname", TARGET)
        for number, size in enumerate(self.sizes_mib, 1):
            path = self.lun_file(number)
            if not path.exists():
                with open(path, "wb") as file:
                    file.truncate(size << 20)
            self._admin("logicalunit", "new", "--tid", 1, "--lun", number, "--backing-store", path)
        if self.chap:
            self._admin("account", "new", "--user", self.chap[0], "--password", self.chap[1])
            self._admin("account", "bind", "--tid", 1, "--user", self.chap[0])
        self._admin("target", "bind", "--tid", 1, "--initiator-address", "ALL")
        return self

    def _admin(self, mode, operation, *words):
        return self.virt.namespace.run("tgtadm", "--lld", "iscsi", "--mode", mode, "--op", operation,
                                       *words, timeout=10)

    def pause(self):
        """Nobody is answered any more, nothing is refused."""
        self.service.pause()

    def resume(self):
        """It goes on after pause()."""
        self.service.resume()

    def stop(self):
        """Connections are refused."""
        if self.service:
            self.service.stop(grace_seconds=1)  # with a session open tgtd stays until it is killed
            self.service = None
