# SPDX-License-Identifier: Apache-2.0
"""Several virtual hosts on one network.

               suite's namespace                    switch's namespace          host's namespace
    berthd --- blN, 10.231.N.1  <== veth ==>  bl-up [bridge bl0] bl-1  <== veth ==>  eth0, 10.231.N.11
                                                              bl-2  <== veth ==>  ...

Both ends of every link die with the namespaces, so a killed suite leaves no device behind either.
Each host is reached by its unix socket (host.uri) or by TCP (fleet.tcp_uri(i)); only TCP feels a cut.
"""
import atexit
import contextlib
import fcntl
import os
import pathlib
import signal
import socket
import subprocess

from .namespace import CommandFailed, Namespace, run
from .private import PrivateLibvirt
from .wait import wait_until

TCP_PORT = 16509
LOCK_PATH = "/run/lock/berth-lab"


class Fleet:
    """n hosts: use it as a context manager, or start() and stop() it.

    hosts[i]      a PrivateLibvirt each, with names h1, h2, ... and a common /etc/hosts
    shared_dir    one folder that all hosts see at the same path
    """

    def __init__(self, count, directory, default_network=False):
        self.dir = pathlib.Path(directory).resolve()
        self.hosts = [PrivateLibvirt(self.dir / f"h{i + 1}", f"h{i + 1}", listen_tcp=True,
                                     default_network=default_network) for i in range(count)]
        self.shared_dir = self.dir / "shared"
        self.switch = Namespace("switch")
        self.net = None  # the third byte of the addresses
        self.uplink = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def address(self, index):
        """The address of hosts[index]."""
        return f"10.231.{self.net}.{11 + index}"

    def tcp_uri(self, index):
        """The URI of hosts[index] over the network."""
        return f"qemu+tcp://{self.address(index)}/system"

    def start(self):
        """Starts the switch and all hosts."""
        atexit.register(self.stop)
        try:
            self.shared_dir.mkdir(parents=True, exist_ok=True)
            self.switch.start()
            self.switch.shell("ip link add bl0 type bridge && ip link set bl0 up")
            self._connect_suite()
            for index in range(len(self.hosts)):
                self.start_host(index)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """Ends all hosts and the network, whatever state they are in."""
        with contextlib.ExitStack() as stack:  # each is stopped even if another fails
            stack.callback(atexit.unregister, self.stop)
            stack.callback(self._remove_uplink)
            stack.callback(self.switch.stop)
            for host in self.hosts:
                stack.callback(host.stop)

    # ------------------------------------------------------------ hosts

    def start_host(self, index):
        """Boots one host, at first or again after kill_host()."""
        self.hosts[index].start(before_daemons=lambda: self._connect_host(index))
        wait_until(lambda: self._answers(index), 30, f"{self.tcp_uri(index)} accepts connections")

    def kill_host(self, index):
        """A power failure: nothing is sent any more, then every process is gone at once."""
        self.cut_link(index)
        self.hosts[index].stop()

    def hang_host(self, index):
        """Every process of the host, guests included, stops running."""
        self.hosts[index].namespace.signal_all(signal.SIGSTOP)

    def unhang_host(self, index):
        """The host goes on after hang_host()."""
        self.hosts[index].namespace.signal_all(signal.SIGCONT)

    # ------------------------------------------------------------ network

    def cut_link(self, index):
        """Nobody reaches the host over the network any more; nothing is refused, packets vanish."""
        self.switch.shell(f"ip link set bl-{index + 1} down")

    def restore_link(self, index):
        """The cable is plugged in again."""
        self.switch.shell(f"ip link set bl-{index + 1} up")

    def _connect_suite(self):
        """Takes a free 10.231.N.0/24 under a lock, so that suites side by side do not collide."""
        pathlib.Path(LOCK_PATH).parent.mkdir(parents=True, exist_ok=True)
        with open(LOCK_PATH, "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            taken = run(["ip", "-4", "-o", "addr"])
            self.net = next(n for n in range(1, 255) if f" 10.231.{n}." not in taken)
            self.uplink = f"bl{self.net}"
            run(["ip", "link", "add", self.uplink, "type", "veth", "peer", "name", "bl-up",
                 "netns", str(self.switch.pid)])
            run(["ip", "addr", "add", f"10.231.{self.net}.1/24", "dev", self.uplink])
        run(["ip", "link", "set", self.uplink, "up"])
        self.switch.shell("ip link set bl-up master bl0 up")

    def _connect_host(self, index):
        host = self.hosts[index].namespace
        port = f"bl-{index + 1}"
        with contextlib.suppress(CommandFailed):  # of the host's life before, if still there
            self.switch.shell(f"ip link del {port} 2>/dev/null")
        run(["nsenter", "--target", str(self.switch.pid), "--net", "ip", "link", "add", port, "type",
             "veth", "peer", "name", "eth0", "address", f"52:54:00:01:{self.net:02x}:{index + 1:02x}",
             "netns", str(host.pid)])  # the same card after a reboot: neighbours remember it
        self.switch.shell(f"ip link set {port} master bl0 up")
        names = "".join(f"{self.address(i)} {h.name}\n" for i, h in enumerate(self.hosts))
        hosts_file = self.dir / "hosts"
        hosts_file.write_text(f"127.0.0.1 localhost\n{names}")
        host.shell(f"set -e; ip addr add {self.address(index)}/24 dev eth0; ip link set eth0 up\n"
                   f"ip route add default via 10.231.{self.net}.1\n"
                   f"mount --bind '{hosts_file}' /etc/hosts")

    def _remove_uplink(self):
        if self.uplink:  # the kernel removes it a moment after the switch; we do not wait for that
            subprocess.run(["ip", "link", "del", self.uplink], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            wait_until(lambda: not os.path.exists(f"/sys/class/net/{self.uplink}"), 30,
                       f"{self.uplink} is gone")
            self.uplink = None

    def _answers(self, index):
        with socket.create_connection((self.address(index), TCP_PORT), timeout=2):
            return True
