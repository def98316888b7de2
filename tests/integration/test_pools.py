# SPDX-License-Identifier: Apache-2.0
"""Pools on a real libvirt: preflight and its words, drift, deletion, kill -9 in between."""
import http.client
import json
import os

import pytest

import lab
import lab.private
from conftest import MIB, add_host, daemon_for
from disks import start_with_host
from lab import wait_until

OFTEN = ("--set", "storage.pool_check_interval=300ms", "--set", "storage.drift_check_every=1")


@pytest.fixture
def api(scratch, virt):
    """A daemon with one real host, h1, that looks at pools and their files all the time."""
    with daemon_for([virt], scratch, *OFTEN) as daemon:
        add_host(daemon.local, "h1", virt.uri)
        yield daemon.local


def dir_pool(virt, name="fast", **more):
    return {"name": name, "kind": "dir", "path": str(virt.images_dir / name), **more}


def pools_of(virt):
    return set(virt.virsh("pool-list", "--all", "--name").split())


def failed(api, body):
    """The error of a creation that must fail and leave nothing."""
    operation = api.ok("POST", "/pools?wait=60", body).json
    assert operation["state"] == "failed", json.dumps(operation)
    assert api.request("GET", f"/pools/{body['name']}").status == 404
    return operation["error"]


def test_a_pool_from_creation_to_deletion(api, virt):
    plan = api.ok("POST", "/pools?dry_run=true", dir_pool(virt)).json
    assert plan["kind"] == "pool.create" and api.request("GET", "/pools/fast").status == 404
    operation = api.act("POST", "/pools", dir_pool(virt, labels={"tier": "ssd"}, warn_percent=99))
    assert operation["result"] == {"hosts": {"h1": "QEMU opened a probe disk"}}
    pool = api.get("/pools/fast")
    assert pool["state"] == "ready" and pool["labels"] == {"tier": "ssd"} and not pool["shared"] and pool["all_hosts"]
    [host] = pool["hosts"]
    assert (host["host"], host["state"], host["reason"]) == ("h1", "ok", "")
    assert host["capacity_bytes"] > 0 and host["checked_at"]
    assert os.listdir(virt.images_dir / "fast") == []
    assert "berth-fast" in pools_of(virt)

    api.act("POST", "/pools/fast/volumes", {"name": "v", "host": "h1", "size_bytes": 8 * MIB})
    pool = api.get("/pools/fast")
    assert pool["volumes"] == 1 and pool["provisioned_bytes"] == 8 * MIB and pool["overcommit"]["now"] > 0
    for refused in (api.request("DELETE", "/pools/fast"), api.request("PATCH", "/pools/fast", {"path": "/srv/other"})):
        assert refused.status == 409 and refused.json["code"] == "in_use" and "volume v" in refused.json["detail"]
    api.ok("PATCH", "/pools/fast", {"description": "quick"})
    assert api.get("/pools/fast")["description"] == "quick"

    api.act("DELETE", "/pools/fast/volumes/v?host=h1")
    (virt.images_dir / "fast" / "theirs.txt").write_text("not ours")
    api.act("DELETE", "/pools/fast")
    assert api.request("GET", "/pools/fast").status == 404
    assert "berth-fast" not in pools_of(virt)
    assert (virt.images_dir / "fast" / "theirs.txt").read_text() == "not ours"
    assert api.request("DELETE", "/pools/default").json["code"] == "protected"


def test_all_that_is_wrong_is_said_at_once(api):
    answer = api.request("POST", "/pools", {"name": "Bad", "kind": "dir", "path": "a/../b", "warn_percent": 0})
    assert answer.status == 400
    assert {e["pointer"] for e in answer.json["errors"]} == {"/name", "/path", "/warn_percent"}
    answer = api.request("POST", "/pools", {"name": "x", "kind": "iscsi-direct", "path": "/p"})
    assert {e["pointer"] for e in answer.json["errors"]} == {"/path", "/source/hosts", "/source/device",
                                                             "/source/initiator"}


@pytest.fixture
def unprivileged(scratch, monkeypatch):
    """A host whose QEMU runs as nobody, as they do; the folders above its pools are closed to others."""
    conf = lab.private.QEMU_CONF.replace('"root"', '"nobody"', 1).replace('"root"', '"nogroup"')
    monkeypatch.setattr(lab.private, "QEMU_CONF", conf.replace("dynamic_ownership = 0", "dynamic_ownership = 1"))
    with lab.PrivateLibvirt(os.path.join(scratch, "v")) as host, daemon_for([host], scratch, *OFTEN) as daemon:
        add_host(daemon.local, "h1", host.uri)
        yield daemon.local, host


def test_directory_that_qemu_may_not_enter_is_explained_and_undone(scratch, unprivileged):
    api, virt = unprivileged
    error = failed(api, dir_pool(virt))
    assert "host h1" in error["detail"] and "x on each directory above" in error["detail"], error
    assert "qemu.conf" in error["hint"] and "namei -l" in error["hint"]
    assert "berth-fast" not in pools_of(virt) and not (virt.images_dir / "fast").exists()
    os.chmod(scratch, 0o711)  # as the hint says
    api.act("POST", "/pools", dir_pool(virt))


def mount_full(virt, path):
    """A filesystem in the host's namespace with too little room for the probe."""
    path.mkdir()
    virt.namespace.shell(f"mount -t tmpfs -o size=256k tmpfs '{path}'")
    return path


def test_full_filesystem_is_explained_and_undone(api, virt):
    small = mount_full(virt, virt.images_dir / "small")
    error = failed(api, dir_pool(virt, "small"))
    assert "the pool is full" in error["detail"], error
    assert "berth-small" not in pools_of(virt)
    assert virt.namespace.shell(f"ls -A '{small}'").strip() == ""


def test_missing_export_is_an_error_that_leaves_nothing(api, virt):
    error = failed(api, {"name": "nas", "kind": "netfs", "path": str(virt.images_dir / "nas"),
                         "source": {"hosts": ["127.0.0.1"], "dir": "/export", "format": "nfs"}})
    assert "host h1" in error["detail"]
    assert "berth-nas" not in pools_of(virt)


def test_deleted_file_shows_as_drift_until_it_is_back(api, virt):
    api.act("POST", "/pools", dir_pool(virt))
    for name, kind in (("q", "qcow2"), ("r", "raw")):
        api.act("POST", "/pools/fast/volumes", {"name": name, "host": "h1", "size_bytes": 8 * MIB, "format": kind})
    volumes = {v["name"]: v for v in api.get("/pools/fast/volumes")["items"]}
    files = {name: virt.images_dir / "fast" / f"{v['id']}.{v['format']}" for name, v in volumes.items()}

    def drift(name):
        return api.get(f"/pools/fast/volumes/{name}")["drift"]

    # A guest's own bytes: a raw disk with a qcow2 header in it is well.
    files["r"].write_bytes(files["q"].read_bytes()[:65536].ljust(8 * MIB, b"\0"))
    aside = files["q"].rename(files["q"].with_suffix(".aside"))
    wait_until(lambda: "is not there" in drift("q"), 30, "the missing file is noticed")
    assert drift("r") == ""
    events = [e for e in api.get("/events", headers={"Accept": "application/json"})["items"]
              if (e["kind"], e["event"]) == ("volume", "drift")]
    assert [e["name"] for e in events] == ["q"] and "is not there" in events[0]["data"]["drift"]
    aside.rename(files["q"])
    wait_until(lambda: drift("q") == "", 30, "the file is back")
    os.truncate(files["r"], 4 * MIB)
    files["r"].write_bytes(b"\0" * 4 * MIB)
    wait_until(lambda: "not 8388608" in drift("r"), 30, "the lost half is noticed")


def test_pool_that_vanishes_from_libvirt_is_made_known_again(api, virt):
    api.act("POST", "/pools", dir_pool(virt))
    virt.virsh("pool-destroy", "berth-fast")
    virt.virsh("pool-undefine", "berth-fast")
    wait_until(lambda: "berth-fast" in pools_of(virt), 30, "the pool is back")


def test_secret_is_never_answered_nor_logged(scratch, virt):
    with daemon_for([virt], scratch, *OFTEN) as daemon:
        api = daemon.local
        add_host(api, "h1", virt.uri)
        body = {"name": "san", "kind": "iscsi-direct",
                "source": {"hosts": ["127.0.0.1:1"], "device": "iqn.2026-01.org.example:t",
                           "initiator": "iqn.2026-01.org.example:i", "user": "u", "secret": "Tops3cretWord"}}
        operation = api.ok("POST", "/pools?wait=60", body).json
        assert operation["state"] == "failed"
        assert "Tops3cretWord" not in json.dumps(operation)
        assert "Tops3cretWord" not in api.request("GET", "/events", headers={"Accept": "application/json"}).text
        assert "Tops3cretWord" not in daemon.log()
        assert virt.virsh("secret-list").strip().splitlines()[2:] == []


FAULTS = ["choose:after", "define:after", "preflight:after", "preflight:undo", "define:undone",
          *(pytest.param(fault, marks=pytest.mark.long) for fault in ("define:before", "preflight:before",
                                                                      "preflight:undone", "define:undo"))]


@pytest.mark.parametrize("fault", FAULTS)
def test_killed_at_each_step_of_a_creation_it_ends_or_is_undone(scratch, virt, fault):
    is_undo = "undo" in fault
    daemon = daemon_for([virt], scratch, *OFTEN).start()
    add_host(daemon.local, "h1", virt.uri)
    daemon.stop()
    start_with_host(daemon, f"pool.create/{fault}")
    path = virt.images_dir / "fast"
    if is_undo:
        mount_full(virt, path)
    try:
        daemon.local.ok("POST", "/pools", dir_pool(virt))
    except (OSError, http.client.HTTPException):
        pass  # killed before it could answer
    daemon.process.wait(60)
    assert daemon.process.returncode == -9
    daemon.start()
    api = daemon.local

    def state():
        answer = api.request("GET", "/pools/fast")
        return answer.json["state"] if answer.status == 200 else "gone"

    expected = "gone" if is_undo else "ready"
    wait_until(lambda: state() == expected, 60, f"the pool is {expected}")
    assert ("berth-fast" in pools_of(virt)) == (not is_undo)
    assert virt.namespace.shell(f"ls -A '{path}' 2>/dev/null || true").strip() == ""
    assert virt.qemu_pids() == {}
    daemon.stop()
