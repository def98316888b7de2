# SPDX-License-Identifier: Apache-2.0
"""A guest writes a qcow2 header that names a file of the host into its raw disk: nobody ever believes it."""
import os
import subprocess

from conftest import MIB
from disks import assert_agree, check_world, make_guest, make_pool, recorded, rows, wait_up

CANARY = b"the host's own secret, which no guest may read " * 20


def forged_header(canary):
    """The beginning of a qcow2 image of 4 MiB that has `canary` as its backing file."""
    forged = f"{canary}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", canary, "-F", "raw", forged, "4M"], check=True)
    with open(forged, "rb") as file:
        header = file.read()
    os.unlink(forged)
    return header


def assert_still_raw(daemon, api, virt, pool):
    path = assert_agree(api, virt, "g", "data")
    assert path[-1].endswith(".raw") and len(path) == 1
    formats = rows(daemon, "SELECT DISTINCT layer.format FROM layer JOIN volume ON volume.layer_id = layer.id")
    assert formats == [("raw",)]
    assert api.get("/vms/g")["disks"]["data"]["pool"] == pool
    return path[0]


def nowhere(directory):
    """No file below the directory has a word of the canary."""
    return subprocess.run(["grep", "-rlF", "the host's own secret", str(directory)], capture_output=True, text=True,
                          check=False).stdout == ""


def test_a_header_in_a_raw_disk_changes_nothing(real, virt):
    api = real.local
    canary = os.path.join(real.directory, "canary")
    with open(canary, "wb") as file:
        file.write(CANARY)
    second = make_pool(api, virt, "second")
    agent = make_guest(api, virt, disks={"data": {"size_bytes": 16 * MIB, "format": "raw"}})
    agent.run("disk-write", "vda", 0, 8 * MIB, 3)
    header = forged_header(canary)
    api.act("POST", "/vms/g/stop")
    path = recorded(api, "default", api.get("/vms/g")["disks"]["data"]["volume"])[0]
    with open(path, "r+b") as disk:  # as the guest could: byte for byte into its own disk
        disk.write(header)
    api.act("POST", "/vms/g/start")
    agent = wait_up(api, virt, times=2)
    expected = agent.run("disk-hash", "vda", 0, 8 * MIB)
    volume = api.get("/vms/g")["disks"]["data"]["volume"]

    def unchanged(pool):
        where = assert_still_raw(real, api, virt, pool)
        assert agent.run("disk-hash", "vda", 0, 8 * MIB) == expected
        return where

    api.act("POST", f"/pools/default/volumes/{volume}/resize", {"size_bytes": 24 * MIB})
    assert agent.run("disks")["vda.size"] == str(24 * MIB)
    unchanged("default")
    api.act("POST", "/vms/g/disks/data/move", {"pool": "second"})
    assert unchanged("second").startswith(str(second))
    api.act("POST", "/vms/g/snapshots", {"name": "s"})
    api.act("POST", "/vms/g/snapshots/s/revert", {"power": "running"})
    agent = wait_up(api, virt, times=3)
    api.act("DELETE", "/vms/g/snapshots/s")
    unchanged("second")
    api.act("POST", "/vms/g/stop")
    api.act("POST", f"/pools/second/volumes/{volume}/resize", {"size_bytes": 32 * MIB})
    api.act("POST", f"/pools/second/volumes/{volume}/clone", {"name": "copy", "mode": "full"})
    copy = recorded(api, "second", "copy")[0]
    with open(copy, "rb") as file:
        assert file.read(len(header)) == header
    assert copy.endswith(".raw") and os.path.getsize(copy) == 32 * MIB
    check_world(real, virt)
    assert nowhere(virt.images_dir)
