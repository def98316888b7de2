# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a scratch directory with a short path, a daemon with a fake host, a private libvirt."""
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from berth import Berthd  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20
FULL = bool(os.environ.get("BERTH_LONG"))


def pytest_configure(config):
    config.addinivalue_line("markers", "long: only in check-long")


def pytest_collection_modifyitems(config, items):
    """Tests marked long belong to check-long alone."""
    if FULL:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if item not in long]
    config.hook.pytest_deselected(items=long)


@pytest.fixture
def scratch():
    """Short, because unix sockets lie in it."""
    directory = tempfile.mkdtemp(prefix="berth-", dir="/tmp")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def fake(scratch):
    """A daemon whose one host, h1, is a fake one that is up."""
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        add_host(daemon.local, "h1", f"fake:///{os.path.basename(scratch)}-h1?cpus=16&memory_mib=65536")
        yield daemon


def add_host(api, name, uri, deadline=60, **more):
    """Registers a host and waits until it is up."""
    from lab import wait_until  # pylint: disable=import-outside-toplevel
    host = api.ok("POST", "/hosts", {"name": name, "uri": uri, **more}).json
    wait_until(lambda: api.get(f"/hosts/{name}")["state"] == "ok", deadline, f"host {name} is up")
    return host


def list_events(api, event):
    """All events of that kind so far, the oldest first."""
    items = api.get("/events?after=0&page_size=1000", headers={"Accept": "application/json"})["items"]
    return [item for item in items if item["event"] == event]


@pytest.fixture
def ksm():
    """The machine's KSM is sped up when its guests are short, and put back only when they no longer are."""
    pages = pathlib.Path("/sys/kernel/mm/ksm/pages_to_scan")
    before = pages.read_text() if pages.exists() else None
    yield
    if before:
        pages.write_text(before)


OVERHEAD = (32 + 8 + 1) * MIB  # of QEMU beside a guest of 512 MiB with one vCPU, as docs/decisions/0012 has it


def share_memory(api, guests_bytes, guests):
    """Leaves so much to that many guests of the host, in mode balloon."""
    total = api.get("/hosts/h1")["memory"]["total_bytes"]
    api.ok("PATCH", "/host-groups/default",
           {"overcommit": {"mode": "balloon"}, "host_reserve": {"memory_bytes": total - guests_bytes - guests * OVERHEAD}})


def small_vm(name, **more):
    return {"name": name, "memory": {"size_bytes": 128 * MIB}, **more}


CMDLINE = {"x86_64": "console=ttyS0 quiet panic=-1", "aarch64": "console=ttyAMA0 quiet panic=-1"}


def guest_vm(name, architecture="x86_64", **more):
    """A VM that boots the test guest directly."""
    from lab import build_guest  # pylint: disable=import-outside-toplevel
    kernel, initrd = build_guest(architecture)
    memory = 256 if architecture == "aarch64" else 128
    body = {"name": name, "architecture": architecture, "memory": {"size_bytes": memory * MIB}, "cpu": {"model": "maximum"},
            "boot": {"kernel": str(kernel), "initrd": str(initrd), "cmdline": CMDLINE[architecture]},
            "desired_power": "running"}
    body.update(more)
    return body


def daemon_for(virts, directory, *arguments, **more):
    """A daemon whose guests may boot the test guest's kernel; hosts are added by the caller."""
    from lab import build_guest  # pylint: disable=import-outside-toplevel
    kernel, _ = build_guest()
    first = virts[0]
    return Berthd(directory, "--no-local-host", "--set", f"guests.boot_directories={kernel.parent}",
                  "--set", f"guests.console_directory={first.log_dir}", "--set", f"storage.pool_path={first.images_dir}/pool",
                  "--set", "hosts.allow_plain_tcp=true", *arguments, **more)


@pytest.fixture
def virt(scratch):
    from lab import PrivateLibvirt  # pylint: disable=import-outside-toplevel
    with PrivateLibvirt(os.path.join(scratch, "v")) as host:
        yield host


@pytest.fixture
def real(scratch, virt):
    """A daemon with one real host, h1."""
    with daemon_for([virt], scratch) as daemon:
        add_host(daemon.local, "h1", virt.uri)
        yield daemon


def wait_guest_ready(api, name, deadline=120, times=1):
    """Until the guest itself says on its console that it is up."""
    from lab import wait_until  # pylint: disable=import-outside-toplevel
    wait_until(lambda: api.request("GET", f"/vms/{name}/console/log").text.count("BERTH-GUEST READY") >= times,
               deadline, f"guest {name} is up")
