# SPDX-License-Identifier: Apache-2.0
"""Room on hosts: what is granted, refused with its arithmetic, freed with proof; quotas, placement, capacity."""
import collections
import concurrent.futures
import os
import random

import pytest

from berth import Berthd
from conftest import FULL, MIB, add_host, guest_vm, small_vm
from lab import wait_until

GIB = 1024 * MIB


def overhead(vcpus, size):
    return 32 * MIB + 8 * MIB * vcpus + size // 512


def vm(name, gib, **more):
    return {"name": name, "memory": {"size_bytes": int(gib * GIB)}, **more}


def running(name, gib, **more):
    return vm(name, gib, desired_power="running", **more)


def uri(scratch, name, cpus=16, mib=8192):
    return f"fake:///{os.path.basename(scratch)}-{name}?cpus={cpus}&memory_mib={mib}"


@pytest.fixture
def fleet(scratch):
    """A daemon with three fake hosts of 16 CPUs and 8 GiB; no start waits for long until others have given room."""
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true", "--set", "memory.room_timeout=1s") as daemon:
        for name in ["h1", "h2", "h3"]:
            add_host(daemon.local, name, uri(scratch, name))
        yield daemon


def held(api, host):
    return api.get(f"/hosts/{host}")["allocation"]


def refused(api, method, path, body=None, status=409, code="insufficient_capacity"):
    answer = api.request(method, path, body)
    assert answer.status == status and answer.json["code"] == code, answer
    return answer.json


def test_room_is_held_from_the_start_to_the_proven_end(fleet):
    api = fleet.local
    api.act("POST", "/vms", vm("a", 2, host="h1", cpu={"count": 2, "max": 4}))
    assert held(api, "h1")["held_vms"] == 0
    api.act("POST", "/vms/a/start")
    now = held(api, "h1")
    assert now["held_bytes"] == 2 * GIB + overhead(4, 2 * GIB) and now["held_vcpus"] == 2
    assert now["limit_bytes"] == 8 * GIB and now["free_bytes"] == 8 * GIB - now["held_bytes"]
    api.act("POST", "/vms/a/pause")
    assert held(api, "h1")["held_vms"] == 1
    api.act("POST", "/vms/a/resume")
    api.act("POST", "/vms/a/suspend")
    wait_until(lambda: held(api, "h1")["held_vms"] == 0, 20, "a suspended VM holds nothing")
    api.act("POST", "/vms/a/start")
    assert held(api, "h1")["held_bytes"] == now["held_bytes"]
    api.act("POST", "/vms/a/stop")
    wait_until(lambda: held(api, "h1")["held_vms"] == 0, 20, "it is freed")
    api.act("DELETE", "/vms/a")


def test_a_refusal_has_the_arithmetic_and_what_would_help(fleet):
    api = fleet.local
    api.act("POST", "/vms", running("a", 6, host="h1"))
    api.act("POST", "/vms", vm("b", 3, host="h1"))
    problem = refused(api, "POST", "/vms/b/start")
    assert "h1" in problem["detail"] and problem["hint"], problem
    assert str(3 * GIB + overhead(1, 3 * GIB)) in str(problem), problem
    assert "a" in str(problem), problem
    assert held(api, "h1")["held_vms"] == 1 and api.get("/vms/b")["desired_power"] == "stopped"
    never = refused(api, "POST", "/vms", running("c", 9), 422, "unprocessable")
    assert never["detail"]
    assert {v["name"] for v in api.get("/vms")["items"]} == {"a", "b"}


def test_parallel_starts_never_share_the_last_gigabyte(fleet):
    api = fleet.local
    for i in range(12):
        api.act("POST", "/vms", vm(f"v{i}", 1.5, host="h1"))
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda i: api.request("POST", f"/vms/v{i}/start?wait=60"), range(12)))
    started = [a for a in answers if a.status == 200]
    assert len(started) == 5, answers  # 5 x (1.5 GiB + 43 MiB) <= 8 GiB < 6 x ...
    assert all(a.status == 200 or a.json["code"] == "insufficient_capacity" for a in answers)
    assert held(api, "h1")["held_bytes"] <= 8 * GIB


POLICIES = {
    "strict": {},
    "ratio": {"overcommit": {"mode": "ratio", "memory_ratio": 1.5}},
    "balloon": {"overcommit": {"mode": "balloon"}},
    "loss": {"placement": {"survive_host_loss": 1}},
}
CASES = 1000 if FULL else 60


def random_vm(chance, name):
    size = chance.choice([0.5, 1, 2, 3, 4, 9])
    body = vm(name, size, cpu={"count": chance.choice([1, 2, 4, 8, 20])}, desired_power=chance.choice(["running", "stopped"]),
              labels={"app": chance.choice("xyz")})
    body["memory"]["min_bytes"] = int(size * GIB) // chance.choice([1, 2])
    if chance.random() < 0.4:
        body["placement"] = {"anti_affinity": [{"labels": {"app": chance.choice("xyz")}, "hard": chance.random() < 0.6}]}
    return body


def settle(api, operation, is_balloon):
    """Waits for its end; and, in mode balloon, until what was started counts with its floor, because it was seen to run."""
    ended = api.operation(operation)
    is_refused = ended["state"] == "failed" and ended["error"]["code"] == "insufficient_capacity"
    assert ended["state"] == "succeeded" or (is_balloon and is_refused), ended  # others did not give in time

    def is_settled():
        memory = api.get("/capacity")["groups"][0]["memory"]
        return memory["free_bytes"] == memory["usable_bytes"] - memory["guaranteed_bytes"]

    if is_balloon:
        wait_until(is_settled, 30, "all that were started were seen to run")
    return ended["state"] == "succeeded"


def places_for(api, body, is_balloon):
    """The host by the ranking, by a dry run and in truth; nothing if it is refused, by all three alike."""
    hosts = {host["id"]: host["name"] for host in api.get("/hosts")["items"]}
    ranking = api.ok("POST", "/placements", body).json
    dry = api.request("POST", "/vms?dry_run=true", body)
    real = api.request("POST", "/vms", body)
    assert dry.status == real.status, (body, dry, real)
    if real.status >= 400:
        assert not ranking["ranking"], (body, ranking, real)
        assert {**dry.json, "request_id": ""} == {**real.json, "request_id": ""}
        return []
    places = [hosts[answer.json["host_id"]] for answer in (dry, real)]
    if settle(api, real.json["id"], is_balloon):
        assert api.get(f"/vms/{body['name']}")["host"] == places[1]
    if ranking["ranking"]:
        return [ranking["ranking"][0]["host"], *places]
    # Too little room now is no reason against one that stays off.
    full = [host["host"] for host in ranking["refused"] if host["filter"] in ("capacity", "host_loss")]
    assert body["desired_power"] == "stopped" and places[0] in full, (body, ranking, places)
    return places


@pytest.mark.parametrize("policy", ["strict", "ratio", pytest.param("balloon", marks=pytest.mark.long)])
def test_ranking_dry_run_and_commit_choose_the_same(fleet, policy):
    api = fleet.local
    chance = random.Random(policy)
    is_balloon = policy == "balloon"
    api.ok("PATCH", "/host-groups/default", POLICIES[policy])
    counts = collections.Counter()
    for i in range(CASES // len(POLICIES)):
        body = random_vm(chance, f"v{i}")
        places = places_for(api, body, is_balloon)
        if len(set(places)) > 1:  # how busy a host is was measured between two of the answers: they agree when asked again
            counts["again"] += 1
            api.request("DELETE", f"/vms/{body['name']}?force=true&wait=60")
            places = places_for(api, body, is_balloon)
        assert len(set(places)) <= 1, (body, places)
        counts[places[0] if places else "refused"] += 1
        existing = [v["name"] for v in api.get("/vms?page_size=1000")["items"]]
        if existing and chance.random() < 0.35:
            api.act("DELETE", f"/vms/{chance.choice(existing)}?force=true")
    print(policy, dict(counts))
    assert counts["again"] <= 3
    assert counts["refused"] and len(counts.keys() - {"again", "refused"}) > 1, counts


def test_growth_is_admitted_and_a_refused_change_changes_nothing(fleet):
    api = fleet.local
    api.ok("PATCH", "/host-groups/default", {"overcommit": {"mode": "ratio", "memory_ratio": 2.0}})
    api.act("POST", "/vms", {"name": "a", "host": "h1", "desired_power": "running",
                             "memory": {"size_bytes": 6 * GIB, "min_bytes": 2 * GIB}})
    api.act("POST", "/vms", {"name": "b", "host": "h1", "desired_power": "running",
                             "memory": {"size_bytes": 6 * GIB, "min_bytes": 2 * GIB}})
    before = api.get("/vms/b")
    problem = refused(api, "PATCH", "/vms/b", {"memory": {"min_bytes": 6 * GIB}})
    assert problem["hint"]
    # What the balloon has is read each second: it may have been seen for the first time meanwhile.
    assert {**api.get("/vms/b")["memory"], "current_bytes": 0} == {**before["memory"], "current_bytes": 0}
    api.act("PATCH", "/vms/a", {"memory": {"min_bytes": 1 * GIB}})
    api.act("PATCH", "/vms/b", {"memory": {"min_bytes": 4 * GIB}})
    assert held(api, "h1")["guaranteed_bytes"] == 5 * GIB + 2 * overhead(1, 6 * GIB)
    refused(api, "PATCH", "/vms/b", {"cpu": {"count": 17, "max": 17}}, 422, "unprocessable")


def test_cpu_reservations_are_never_overcommitted(fleet):
    api = fleet.local
    for i in range(2):
        api.act("POST", "/vms", running(f"v{i}", 0.5, host="h1", cpu={"count": 8, "reservation_percent": 100}))
    problem = refused(api, "POST", "/vms", running("v2", 0.5, host="h1", cpu={"count": 1, "reservation_percent": 10}))
    assert "h1" in problem["detail"]
    api.act("POST", "/vms", running("v3", 0.5, host="h1", cpu={"count": 8}))


def test_nothing_starts_that_the_other_host_could_not_take(scratch):
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        api = daemon.local
        for name in ["h1", "h2"]:
            add_host(api, name, uri(scratch, name))
        api.ok("PATCH", "/host-groups/default", {"placement": {"survive_host_loss": 1}})
        api.act("POST", "/vms", running("a", 5, host="h1"))
        # h2 has room for it, but not for a as well.
        wanted = 4 * GIB + overhead(1, 4 * GIB)
        numbers = {"lost_host": "h1", "bound": "memory_size", "needed": 5 * GIB + overhead(1, 5 * GIB),
                   "free": 8 * GIB - wanted}
        places = api.ok("POST", "/placements", vm("b", 4)).json
        reasons = {r["host"]: (r["filter"], r["numbers"]) for r in places["refused"]}
        assert not places["ranking"] and reasons["h1"][0] == "capacity" and reasons["h2"] == ("host_loss", numbers), places
        problem = refused(api, "POST", "/vms", running("b", 4))
        assert problem["numbers"] == {"hosts": 2, "capacity": 1, "host_loss": 1}, problem
        problem = refused(api, "POST", "/vms", running("b", 4, host="h2"))
        assert problem["numbers"] == {"filter": "host_loss", **numbers} and 'if host "h1" were lost' in problem["detail"], problem

        api.act("POST", "/vms", vm("b", 4, host="h2"))  # while it is off it needs no room
        problem = refused(api, "POST", "/vms/b/start")
        assert problem["numbers"] == {"filter": "host_loss", **numbers}, problem
        assert api.get("/vms/b")["desired_power"] == "stopped" and held(api, "h2")["held_vms"] == 0
        api.act("POST", "/vms", running("c", 2.5, host="h2"))
        assert api.get("/capacity")["groups"][0]["survives_host_loss"]
        api.act("POST", "/vms/c/stop")
        wait_until(lambda: held(api, "h2")["held_vms"] == 0, 20, "c is off")
        api.ok("PATCH", "/host-groups/default", {"placement": {"survive_host_loss": 0}})
        api.act("POST", "/vms/b/start")
        assert not api.get("/capacity")["groups"][0]["survives_host_loss"]


def test_pinning_of_a_running_vm_changes_live(fleet):
    api = fleet.local
    api.act("POST", "/vms", running("a", 0.5, host="h1", cpu={"count": 4}))
    api.act("POST", "/vms", running("b", 0.5, host="h1", cpu={"count": 12}))
    for pinning in ["dedicated", "auto", "none", "dedicated"]:
        api.act("PATCH", "/vms/a", {"cpu": {"pinning": pinning}})
        assert not api.get("/vms/a")["pending"], pinning
    problem = refused(api, "PATCH", "/vms/b", {"cpu": {"pinning": "dedicated"}})
    assert problem["numbers"] and api.get("/vms/b")["cpu"]["pinning"] == "none", problem
    api.act("PATCH", "/vms/a", {"cpu": {"pinning": "none"}})
    api.act("PATCH", "/vms/a", {"cpu": {"pinning": "auto"}})
    api.act("POST", "/vms/a/stop")
    api.act("POST", "/vms/a/start")
    assert api.get("/vms/a")["cpu"]["pinning"] == "auto"


def test_killed_between_grant_and_start_the_grant_stands_and_the_start_is_completed(fleet, scratch):
    api = fleet.local
    api.act("POST", "/vms", vm("a", 5, host="h1"))
    api.act("POST", "/vms", vm("b", 5, host="h1"))
    fleet.stop()
    fleet.start(fault="vm.start/start:before")
    wait_until(lambda: api.get("/hosts/h1")["state"] == "ok", 60, "h1 is up")
    try:
        api.request("POST", "/vms/a/start")
    except OSError:
        pass
    fleet.process.wait(30)
    fleet.start()
    assert held(api, "h1")["held_vms"] == 1
    wait_until(lambda: api.get("/hosts/h1")["state"] == "ok", 60, "h1 is up")
    refused(api, "POST", "/vms/b/start")
    wait_until(lambda: api.get("/vms/a")["power"] == "running", 60, "the start is completed")
    assert held(api, "h1")["held_vms"] == 1


def test_a_host_that_does_not_answer_frees_nothing(real, virt):
    api = real.local
    api.act("POST", "/vms", guest_vm("a"), wait=200)
    api.act("POST", "/vms", {**guest_vm("b"), "desired_power": "stopped"}, wait=200)
    now = held(api, "h1")
    reserve = api.get("/hosts/h1")["memory"]["total_bytes"] - now["held_bytes"]
    api.ok("PATCH", "/host-groups/default", {"host_reserve": {"memory_bytes": reserve}})
    for silence, end in [(virt.pause_libvirtd, virt.resume_libvirtd), (virt.kill_libvirtd, virt.start_libvirtd)]:
        real.kill()
        silence()
        real.start()
        try:
            assert api.get("/hosts/h1")["state"] != "ok" and held(api, "h1")["held_bytes"] == now["held_bytes"]
            refused(api, "POST", "/vms/b/start", None, 503, "host_down")
        finally:
            end()
        wait_until(lambda: api.get("/vms/a")["power"] == "running", 90, "the host answers again")
        refused(api, "POST", "/vms/b/start")
    api.act("POST", "/vms/a/stop")
    api.act("POST", "/vms/b/start")


def test_quotas_count_stopped_vms_and_are_shown_with_their_usage(fleet):
    api = fleet.local
    api.ok("POST", "/quotas", {"name": "team", "selector": {"labels": {"team": "x"}}, "limits": {"memory_bytes": 3 * GIB, "vms": 3}})
    api.act("POST", "/vms", vm("a", 1, labels={"team": "x"}))
    api.act("POST", "/vms", vm("b", 1, labels={"team": "x"}))
    api.act("POST", "/vms", vm("other", 4, labels={"team": "y"}))
    assert api.get("/quotas/team")["usage"] == {"vms": 2, "vcpus": 2, "memory_bytes": 2 * GIB, "disk_bytes": 0}
    problem = refused(api, "POST", "/vms", vm("c", 1.5, labels={"team": "x"}), 429, "limit_reached")
    assert "team" in problem["detail"] and str(3 * GIB) in problem["detail"], problem
    refused(api, "PATCH", "/vms/a", {"memory": {"size_bytes": int(2.5 * GIB)}}, 429, "limit_reached")
    refused(api, "PATCH", "/vms/other", {"labels": {"team": "x"}}, 429, "limit_reached")
    api.act("POST", "/vms", vm("c", 0.5, labels={"team": "x"}))
    refused(api, "POST", "/vms", vm("d", 0.25, labels={"team": "x"}), 429, "limit_reached")
    api.ok("PATCH", "/quotas/team", {"limits": {"vms": 1}})
    api.act("PATCH", "/vms/a", {"description": "an exceeded quota forbids growing, not changing"})
    assert api.request("POST", "/quotas", {"name": "empty"}).status == 400
    api.ok("DELETE", "/quotas/team")
    api.act("POST", "/vms", vm("d", 0.25, labels={"team": "x"}))


def test_affinity_holds_end_to_end(fleet):
    api = fleet.local
    apart = {"placement": {"anti_affinity": [{"labels": {"app": "db"}}]}, "labels": {"app": "db"}}
    for i in range(3):
        api.act("POST", "/vms", running(f"db{i}", 0.5, **apart))
    hosts = [api.get(f"/vms/db{i}")["host"] for i in range(3)]
    assert sorted(hosts) == ["h1", "h2", "h3"]
    problem = api.request("POST", "/vms", running("db3", 0.5, **apart))
    assert problem.status in (409, 422) and "affinity" in str(problem.json), problem
    near = {"placement": {"affinity": [{"vms": ["db1"]}]}}
    api.act("POST", "/vms", running("near", 0.5, **near))
    assert api.get("/vms/near")["host"] == hosts[1]
    api.act("POST", "/vms", vm("named", 0.5, placement={"affinity": [{"hosts": ["h2"]}]}))
    assert api.get("/vms/named")["host"] == "h2"


def test_placements_rank_and_name_every_refused_host(fleet):
    api = fleet.local
    api.act("POST", "/vms", running("a", 7, host="h2"))
    answer = api.ok("POST", "/placements", vm("new", 4, placement={"anti_affinity": [{"hosts": ["h3"]}]})).json
    assert [r["host"] for r in answer["ranking"]] == ["h1"], answer
    assert set(answer["ranking"][0]["parts"]) and answer["ranking"][0]["score"] >= 0
    reasons = {r["host"]: r for r in answer["refused"]}
    assert reasons["h2"]["filter"] == "capacity" and reasons["h2"]["numbers"], answer
    assert reasons["h3"]["filter"] == "anti_affinity", answer
    assert api.request("GET", "/vms/new").status == 404
    assert api.request("POST", "/placements", vm("new", 1, host="nowhere")).json["code"] == "reference_not_found"
    assert api.request("POST", "/placements", vm("new", 0.0001)).status == 400


def test_a_vm_is_placed_where_its_networks_are_active(fake, scratch):
    api = fake.local
    alone = api.request("POST", "/vms", small_vm("b", nics={"n": {"network": "dmz"}}))
    assert alone.status == 409 and "h1" in alone.json["detail"] and "start the network" in alone.json["hint"], alone
    other = uri(scratch, "h2", cpus=64, mib=262144) + "&networks="
    add_host(api, "h2", f"{other}0")  # by far the emptiest
    assert (api.get("/hosts/h1")["networks"], api.get("/hosts/h2")["networks"]) == (["default"], [])

    def ranked(**more):
        return [host["host"] for host in api.ok("POST", "/placements", small_vm("x", **more)).json["ranking"]]

    lan = {"nics": {"n": {"network": "default"}}}
    assert ranked()[0] == "h2" and ranked(**lan) == ["h1"]
    refused = api.ok("POST", "/placements", small_vm("x", **lan)).json["refused"]
    assert [(host["host"], host["filter"]) for host in refused] == [("h2", "networks")]
    assert "network default" in refused[0]["detail"]
    api.act("POST", "/vms", small_vm("a", **lan))
    assert api.get("/vms/a")["host"] == "h1"
    nowhere = api.request("POST", "/vms", small_vm("b", nics={"n": {"network": "dmz"}}))
    assert nowhere.json["code"] == "insufficient_capacity" and "network dmz" in nowhere.json["detail"], nowhere
    assert nowhere.json["numbers"]["networks"] == 2 and api.request("GET", "/vms/b").status == 404
    asked = api.ok("POST", "/vms?wait=60", small_vm("b", host="h2", **lan)).json  # the host itself has the last word
    assert asked["state"] == "failed" and "default" in asked["error"]["detail"], asked
    api.ok("PATCH", "/hosts/h2", {"uri": f"{other}1"})
    wait_until(lambda: ranked(**lan)[0] == "h2", 30, "the network became active")


def test_capacity_counts_what_fits_and_what_a_loss_would_cost(fleet):
    api = fleet.local
    before = api.get(f"/capacity?vcpus=1&memory_bytes={GIB}")["groups"][0]
    assert before["group"] == "default" and before["hosts_ok"] == 3 and before["survives_host_loss"]
    each = GIB + overhead(1, GIB)
    assert before["fits"] == 3 * (8 * GIB // each), before
    for i, host in enumerate(["h1", "h2", "h3"]):
        api.act("POST", "/vms", running(f"v{i}", 5, host=host))
    after = api.get(f"/capacity?memory_bytes={GIB}&group=default")["groups"][0]
    assert not after["survives_host_loss"] and len(after["losses"]) == 3, after
    assert after["memory"]["configured_bytes"] == 3 * (5 * GIB + overhead(1, 5 * GIB))
    assert after["fits"] == 3 * ((8 * GIB - 5 * GIB - overhead(1, 5 * GIB)) // each)
    assert api.request("GET", "/capacity?group=none").status == 404


def test_a_vm_is_placed_in_the_group_it_names(fleet, scratch):
    api = fleet.local
    api.ok("POST", "/host-groups", {"name": "other"})
    add_host(api, "h4", uri(scratch, "h4"), group="other")
    api.act("POST", "/vms", vm("a", 1, host_group="other"))
    assert api.get("/vms/a")["host"] == "h4"
    assert api.request("POST", "/vms", vm("b", 1, host_group="none")).json["code"] == "reference_not_found"
    wrong = api.request("POST", "/vms", vm("b", 1, host_group="other", host="h1"))
    assert wrong.status == 422 and wrong.json["errors"][0]["pointer"] == "/host_group", wrong


BAD = [
    ({"memory": {"size_bytes": GIB, "min_bytes": 2 * GIB}}, "/memory/min_bytes"),
    ({"memory": {"size_bytes": GIB, "max_bytes": GIB // 2}}, "/memory/max_bytes"),
    ({"memory": {"size_bytes": GIB + 1}}, "/memory/size_bytes"),
    ({"memory": {"size_bytes": GIB, "min_bytes": GIB - 1}}, "/memory/min_bytes"),
    ({"memory": {"size_bytes": GIB, "hugepages": True}}, "/memory/hugepages"),
    ({"cpu": {"shares": 0}}, "/cpu/shares"),
    ({"memory": {"size_bytes": GIB, "shares": 0}}, "/memory/shares"),
    ({"cpu": {"reservation_percent": 101}}, "/cpu/reservation_percent"),
    ({"cpu": {"count": 2, "max": 4, "pinning": "dedicated"}}, "/cpu/max"),
    ({"cpu": {"pinning": "dedicated", "reservation_percent": 50}}, "/cpu/reservation_percent"),
    ({"cpu": {"pinning": "sometimes"}}, "/cpu/pinning"),
    ({"placement": {"affinity": [{"vms": ["bad"]}]}}, "/placement/affinity/0"),
    ({"placement": {"affinity": [{}]}}, "/placement/affinity/0"),
    ({"placement": {"affinity": [{"vms": ["x"]}], "anti_affinity": [{"vms": ["x"]}]}}, "/placement"),
    ({"placement": {"affinity": [{"hosts": ["h1"], "failure_domain": True}]}}, "/placement/affinity/0"),
]


@pytest.mark.parametrize("members,pointer", BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_input_is_refused_at_the_member(fake, members, pointer):
    api = fake.local
    answer = api.request("POST", "/vms", {**small_vm("bad"), **members})
    assert answer.status == 400, answer
    assert any(e["pointer"].startswith(pointer) and e["detail"] for e in answer.json["errors"]), answer
    assert api.get("/vms")["items"] == []


def test_host_shows_its_numa_nodes_and_huge_pages(fake):
    host = fake.local.get("/hosts/h1")
    total = host["memory"]["total_bytes"]
    assert host["cpu"]["numa_nodes"] == [{"id": 0, "memory_bytes": total, "cpus": 16, "cpu_list": "0-15"}]
    assert host["memory"]["hugepages"] == []


def test_ratios_below_one_and_no_numbers_are_refused(fake):
    api = fake.local
    for ratio in ["0.5", "NaN", "-1", "1e999"]:
        raw = '{"name": "g", "overcommit": {"cpu_ratio": %s}}' % ratio
        answer = api.request("POST", "/host-groups", raw=raw, headers={"Content-Type": "application/json"})
        assert answer.status == 400, (ratio, answer)
