# SPDX-License-Identifier: Apache-2.0
"""VMs over the API on a fake host: lifecycle, configuration, conditions, idempotency, order."""
import concurrent.futures
import contextlib
import sqlite3
import threading

from berth import quote
from conftest import MIB, FULL, add_host, small_vm
from lab import wait_until


def test_lifecycle_shows_the_power_that_was_seen(fake):
    api = fake.local
    api.act("POST", "/vms", small_vm("a", desired_power="running"))
    assert api.get("/vms/a")["power"] == "running"
    for verb, power in [("pause", "paused"), ("resume", "running"), ("suspend", "suspended"), ("start", "running"),
                        ("reset", "running"), ("stop", "stopped"), ("start", "running"), ("shutdown", "stopped")]:
        operation = api.act("POST", f"/vms/a/{verb}")
        assert operation["kind"] == f"vm.{verb}" and operation["target"]["name"] == "a"
        vm = api.get("/vms/a")
        assert vm["power"] == power, (verb, vm)
        assert vm["power_since"]
    assert "noise" in api.get("/vms/a/stats")
    api.act("DELETE", "/vms/a?delete_disks=true")
    assert api.request("GET", "/vms/a").status == 404


def test_memory_that_a_guest_has_now_is_shown_and_not_written(fake):
    api = fake.local
    sizes = {"size_bytes": 256 * MIB, "min_bytes": 128 * MIB}
    api.act("POST", "/vms", small_vm("a", memory=sizes))
    off = api.ok("GET", "/vms/a")
    assert off.json["memory"]["current_bytes"] is None
    api.act("POST", "/vms/a/start")
    running = wait_until(lambda: (vm := api.get("/vms/a"))["memory"]["current_bytes"] and vm, 30, "its memory is known")
    assert running["memory"]["current_bytes"] == 256 * MIB and running["memory"].items() > sizes.items()
    assert api.get("/vms?fields=name,memory")["items"][0]["memory"] == running["memory"]
    on = api.ok("GET", "/vms/a")
    assert on.headers["etag"] == off.headers["etag"], "the ETag is about the configuration"
    for method, body in [("PATCH", {"memory": running["memory"]}), ("PUT", small_vm("a", memory=running["memory"])),
                         ("POST", small_vm("b", memory=running["memory"]))]:
        answer = api.request(method, "/vms" if method == "POST" else "/vms/a", body)
        assert answer.status == 400 and answer.json["errors"][0] == {
            "pointer": "/memory/current_bytes", "code": "read_only", "detail": "is set by Berth and cannot be written"}, answer
    api.act("POST", "/vms/a/stop")
    assert api.get("/vms/a")["memory"]["current_bytes"] is None


def test_a_deleted_vm_leaves_no_mark_of_its_throttle(fake):
    api = fake.local
    path = f"{fake.state_dir}/berth.db"
    api.act("POST", "/vms", small_vm("a"))
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO meta (key, value) VALUES (?, 'h')", (f"cpu_throttled:{api.get('/vms/a')['id']}",))
    api.act("DELETE", "/vms/a?delete_disks=true")
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert not db.execute("SELECT key FROM meta WHERE key LIKE 'cpu_throttled:%'").fetchall()


def test_wrong_state_is_refused_with_the_state(fake):
    api = fake.local
    api.act("POST", "/vms", small_vm("a"))
    for verb in ["pause", "resume", "stop", "shutdown", "reboot", "reset", "suspend"]:
        answer = api.request("POST", f"/vms/a/{verb}")
        assert answer.status == 409 and answer.json["code"] == "wrong_state", answer
        assert "stopped" in answer.json["detail"]
    api.act("POST", "/vms/a/start")
    assert api.request("POST", "/vms/a/start").json["code"] == "wrong_state"
    refused = api.request("DELETE", "/vms/a")
    assert refused.status == 409 and "force" in refused.json["hint"]
    api.act("DELETE", "/vms/a?force=true")


def test_disks_stay_unless_asked(fake):
    api = fake.local
    api.act("POST", "/vms", small_vm("a", disks={"root": {"size_bytes": 16 * MIB}}))
    volume = api.get("/vms/a")["disks"]["root"]["volume"]
    api.act("DELETE", "/vms/a")
    kept = api.get("/pools/default/volumes")["items"]
    assert [v["name"] for v in kept] == [volume]
    api.act("POST", "/vms", small_vm("b", disks={"root": {"volume": volume}}))
    taken = api.request("POST", "/vms", small_vm("c", disks={"root": {"volume": volume}}))
    assert taken.status == 409 and taken.json["code"] == "in_use", taken
    api.act("DELETE", "/vms/b?delete_disks=true")
    assert api.get("/pools/default/volumes")["items"] == []


def test_failed_creation_leaves_nothing(fake):
    api = fake.local
    operation = api.ok("POST", "/vms?wait=60", small_vm(
        "a", host="h1", disks={"root": {"size_bytes": 16 * MIB}}, nics={"n": {"network": "no-such-network"}})).json
    assert operation["state"] == "failed" and operation["error"]["detail"], operation
    assert api.request("GET", "/vms/a").status == 404
    assert api.get("/pools/default/volumes")["items"] == []
    api.act("POST", "/vms", small_vm("a", disks={"root": {"size_bytes": 16 * MIB}}))


def test_patch_puts_and_pending(fake):
    api = fake.local
    api.act("POST", "/vms", small_vm("a", nics={"n": {}}, disks={"root": {"size_bytes": 16 * MIB}}))
    vm = api.get("/vms/a")
    mac = vm["nics"]["n"]["mac"]
    same = api.ok("PATCH", "/vms/a", {"labels": {"team": "red"}})
    assert same.status == 200 and same.json["labels"] == {"team": "red"}
    api.act("POST", "/vms/a/start")
    api.act("PATCH", "/vms/a", {"machine": "q35", "boot": {"firmware": "uefi"}})
    vm = api.get("/vms/a")
    assert vm["boot"]["firmware"] == "uefi"
    assert vm["pending"]["/boot/firmware"] == "uefi", vm["pending"]
    api.act("POST", "/vms/a/stop")
    api.act("POST", "/vms/a/start")
    assert api.get("/vms/a")["pending"] == {}
    api.act("PATCH", "/vms/a", {"nics": {"n": None}})
    assert "n" not in api.get("/vms/a").get("nics", {})
    body = small_vm("a", nics={"m": {}}, disks={"root": {"size_bytes": 16 * MIB}})
    body["desired_power"] = "running"
    api.act("PUT", "/vms/a", body)
    vm = api.get("/vms/a")
    assert vm["nics"]["m"]["mac"] != mac and vm["disks"]["root"]["volume"]
    created = api.ok("PUT", "/vms/fresh?wait=60", small_vm("fresh"))
    assert created.json["kind"] == "vm.create"


def test_etag_conditions(fake):
    api = fake.local
    api.act("POST", "/vms", small_vm("a"))
    etag = api.ok("GET", "/vms/a").headers["etag"]
    assert etag.startswith('"')
    assert api.ok("PATCH", "/vms/a", {"description": "x"}, headers={"If-Match": etag}).status == 200
    stale = api.request("PATCH", "/vms/a", {"description": "y"}, headers={"If-Match": etag})
    assert stale.status == 412 and stale.json["code"] == "precondition_failed"
    assert api.get("/vms/a")["description"] == "x"
    assert api.request("PUT", "/vms/a", small_vm("a"), headers={"If-None-Match": "*"}).status == 412


def test_idempotency_key_replays_the_first_answer(fake):
    api = fake.local
    key = {"Idempotency-Key": "k1"}
    first = api.ok("POST", "/vms", small_vm("a"), headers=key)
    again = api.ok("POST", "/vms", small_vm("a"), headers=key)
    assert (again.status, again.json["id"]) == (first.status, first.json["id"])
    other = api.request("POST", "/vms", small_vm("b"), headers=key)
    assert other.status == 422 and other.json["code"] == "idempotency_key_reused"
    assert api.request("GET", "/vms/b").status == 404


def test_dry_run_answers_and_does_nothing(fake):
    api = fake.local
    seen = api.get("/events?after=0", headers={"Accept": "application/json"})["items"]
    answer = api.ok("POST", "/vms?dry_run=true", small_vm("a", disks={"d": {"size_bytes": 16 * MIB}}))
    assert answer.status == 202 and answer.json["kind"] == "vm.create"
    assert api.request("GET", "/vms/a").status == 404
    assert api.get("/operations")["items"] == []
    assert api.get("/events?after=0", headers={"Accept": "application/json"})["items"] == seen
    refused = api.request("POST", "/vms?dry_run=true", small_vm("a", host="nowhere"))
    assert refused.status == 422 and refused.json["errors"][0]["pointer"] == "/host"


def test_list_filter_sort_page_fields(fake):
    api = fake.local
    for i in range(7):
        api.act("POST", "/vms", small_vm(f"vm-{i}", cpu={"count": 1 + i % 2}))
    names = []
    path = "/vms?page_size=3&sort=-name"
    page = api.get(path)
    while True:
        names += [vm["name"] for vm in page["items"]]
        if not page["next_page_token"]:
            break
        page = api.get(f"{path}&page_token={quote(page['next_page_token'])}")
    assert names == [f"vm-{i}" for i in reversed(range(7))]
    found = api.get("/vms?filter=" + quote('vcpus eq 2 and name contains "vm-"') + "&fields=name,power")
    assert [vm["name"] for vm in found["items"]] == ["vm-1", "vm-3", "vm-5"]
    assert set(found["items"][0]) <= {"name", "power", "id"}
    bad = api.request("GET", "/vms?filter=" + quote("secret eq 1"))
    assert bad.status == 400 and bad.json["code"]


def test_rename_only_when_stopped(fake):
    api = fake.local
    api.act("POST", "/vms", small_vm("a"))
    api.act("POST", "/vms/a/rename", {"name": "b"})
    assert api.get("/vms/b")["name"] == "b" and api.request("GET", "/vms/a").status == 404
    api.act("POST", "/vms/b/start")
    assert api.request("POST", "/vms/b/rename", {"name": "c"}).json["code"] == "wrong_state"


def test_foreign_domains_are_shown_and_never_changed(scratch):
    from berth import Berthd
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        api = daemon.local
        add_host(api, "h1", f"fake:///{scratch[5:]}?domains=3&running=1")
        wait_until(lambda: len(api.get("/vms")["items"]) == 3, 20, "foreign VMs are listed")
        vm = api.get("/vms")["items"][0]
        assert vm["managed"] is False
        for method, path in [("POST", "/start"), ("POST", "/stop"), ("DELETE", ""), ("PATCH", "")]:
            body = {"description": "x"} if method == "PATCH" else None
            answer = api.request(method, f"/vms/{vm['id']}{path}", body)
            assert answer.status == 409 and "adopt" in answer.json["hint"], answer
        adopted = api.ok("POST", f"/vms/{vm['id']}/adopt", {"name": "mine"}).json
        assert adopted["managed"] and adopted["adopted"]
        assert api.request("DELETE", "/vms/mine").status == 204
        assert api.get(f"/vms/{vm['id']}")["managed"] is False


def test_100_concurrent_creates_starts_and_deletes_all_end_in_order(fake):
    count = 100 if FULL else 40
    barrier = threading.Barrier(8)

    def life(i):
        api = fake.local
        if i < 8:
            barrier.wait()
        name = f"vm-{i}"
        created = api.ok("POST", "/vms", small_vm(name)).json
        started = api.ok("POST", f"/vms/{name}/start").json
        deleted = api.ok("DELETE", f"/vms/{name}?force=true&delete_disks=true").json
        ends = [api.operation(o["id"]) for o in (created, started, deleted)]
        assert [o["state"] for o in ends] == ["succeeded"] * 3, ends
        assert ends[0]["ended_at"] <= ends[1]["started_at"] and ends[1]["ended_at"] <= ends[2]["started_at"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(life, range(count)))
    assert fake.local.get("/vms")["items"] == []
    assert "database is locked" not in fake.log()
