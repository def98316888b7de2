# SPDX-License-Identifier: Apache-2.0
"""Quotas on disks: growing a volume, alone and beside others, never goes beyond what its VM's quota allows."""
import concurrent.futures
import os

import pytest

from berth import Berthd
from conftest import MIB, add_host, small_vm
from disks import wait_quiet

SIZE, LIMIT = 64 * MIB, 512 * MIB
DISKS = [f"d{i}" for i in range(3)]


@pytest.fixture
def team(scratch):
    """Two VMs with three disks each and a quota for all six; their host takes its time."""
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        api = daemon.local
        add_host(api, "h1", f"fake:///{os.path.basename(scratch)}-h1?cpus=16&memory_mib=8192&delay_ms=100")
        for name in "ab":
            api.act("POST", "/vms", small_vm(name, labels={"team": "x"}, disks={disk: {"size_bytes": SIZE} for disk in DISKS}))
        api.ok("POST", "/quotas", {"name": "team", "selector": {"labels": {"team": "x"}}, "limits": {"disk_bytes": LIMIT}})
        yield daemon


def volume(api, vm, disk):
    name = api.get(f"/vms/{vm}")["disks"][disk]["volume"]
    return f"/pools/default/volumes/{name}"


def used(api):
    return api.get("/quotas/team")["usage"]["disk_bytes"]


def resize(api, path, size, wait=60):
    return api.request("POST", f"{path}/resize?wait={wait}", {"size_bytes": size})


def check_refused(answer, taken, asked):
    assert answer.status == 429 and answer.json["code"] == "limit_reached", answer
    assert answer.json["numbers"] == {"quota": "team", "disk_bytes": {"limit": LIMIT, "used": taken, "asked": asked}}, answer
    assert "team" in answer.json["detail"] and answer.json["hint"]


def test_growing_a_volume_beyond_the_quota_is_refused_and_changes_nothing(team):
    api = team.local
    taken = 6 * SIZE
    path = volume(api, "a", "d0")
    before, vm = api.get(path), api.get("/vms/a")
    check_refused(resize(api, path, 3 * SIZE + MIB), taken, 2 * SIZE + MIB)
    assert api.get(path) == before and api.get("/vms/a") == vm and used(api) == taken
    assert not api.get('/operations?filter=kind%20eq%20"volume.resize"')["items"]
    assert resize(api, path, 3 * SIZE).json["state"] == "succeeded"  # exactly what is left
    assert used(api) == LIMIT and api.get("/vms/a")["disks"]["d0"]["size_bytes"] == 3 * SIZE
    check_refused(resize(api, volume(api, "b", "d0"), SIZE + MIB), LIMIT, MIB)
    api.act("PATCH", "/vms/b", {"labels": {"team": "y"}})
    assert resize(api, volume(api, "b", "d0"), 8 * SIZE).json["state"] == "succeeded"  # another team's


def test_grows_side_by_side_do_not_exceed_the_quota_together(team):
    api = team.local
    paths = [volume(api, vm, disk) for vm in "ab" for disk in DISKS]
    with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
        answers = list(pool.map(lambda path: resize(api, path, 2 * SIZE, wait=0), paths))
    wait_quiet(api)
    assert used(api) == LIMIT, answers
    assert sorted(answer.status for answer in answers) == [202, 202] + 4 * [429], answers
    assert sorted(api.get(path)["size_bytes"] for path in paths) == 4 * [SIZE] + 2 * [2 * SIZE]


def test_a_volume_that_grows_twice_in_a_row_counts_once(team):
    api = team.local
    path = volume(api, "a", "d0")
    answers = [resize(api, path, size, wait=0) for size in (2 * SIZE, 3 * SIZE)]
    assert [answer.status for answer in answers] == [202, 202], answers
    assert used(api) == LIMIT
    check_refused(resize(api, volume(api, "b", "d0"), SIZE + MIB), LIMIT, MIB)
    wait_quiet(api)
    assert used(api) == LIMIT and api.get(path)["size_bytes"] == 3 * SIZE


def test_an_existing_volume_counts_when_a_vm_takes_it(team):
    api = team.local
    big = {"disks": {"big": {"volume": "big"}}}
    api.act("POST", "/pools/default/volumes", {"name": "big", "host": "h1", "size_bytes": 4 * SIZE})
    before = api.get("/vms/a")
    check_refused(api.request("PATCH", "/vms/a?wait=60", big), 6 * SIZE, 4 * SIZE)
    check_refused(api.request("POST", "/vms?wait=60", small_vm("c", labels={"team": "x"}, **big)), 6 * SIZE, 4 * SIZE)
    assert api.get("/vms/a") == before and not api.get("/pools/default/volumes/big")["vm"]
    api.act("PATCH", "/vms/a", {"disks": {"d1": None, "d2": None}})
    api.act("PATCH", "/vms/a", big)
    assert used(api) == LIMIT and api.get("/vms/a")["disks"]["big"]["size_bytes"] == 4 * SIZE
