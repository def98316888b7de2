# SPDX-License-Identifier: Apache-2.0
"""Mode balloon: VMs that start stand in a line until others have given room; what becomes of those who wait."""
import contextlib
import os

from berth import Berthd
from conftest import MIB, add_host, list_events
from lab import wait_until

GIB = 1024 * MIB
HOST_BYTES = 8 * GIB


def vm(name, size, floor, **more):
    return {"name": name, "host": "h1", "memory": {"size_bytes": size, "min_bytes": floor}, **more}


@contextlib.contextmanager
def crowded(scratch, *arguments):
    """A daemon whose one host is full: of what its guests a, b and c have, they use half."""
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true", *arguments) as daemon:
        api = daemon.local
        add_host(api, "h1", f"fake:///{os.path.basename(scratch)}-h1?cpus=16&memory_mib={HOST_BYTES // MIB}")
        api.ok("PATCH", "/host-groups/default", {"overcommit": {"mode": "balloon"}, "host_reserve": {"memory_bytes": 0}})
        for name in "abc":
            api.act("POST", "/vms", vm(name, 5 * GIB // 2, GIB // 2, desired_power="running"))
        yield daemon


def begin(api, name):
    return api.ok("POST", f"/vms/{name}/start").json["id"]


def wait_in_line(api, operation):
    wait_until(lambda: api.get(f"/operations/{operation}")["progress"]["phase"] == "room", 10, "it waits for room")


def held_vms(api):
    return api.get("/hosts/h1")["allocation"]["held_vms"]


def ran_in_order(api, names):
    """In which order they were seen to run."""
    return [e["name"] for e in list_events(api, "power") if e["name"] in names and e["data"]["power"] == "running"]


def check_room_for_all(views):
    """What guests have, and what they may take, is never more than there is."""
    for view in views:
        assert sum(vm["booked_bytes"] for vm in view["vms"]) <= view["memory"]["usable_bytes"], view


def test_those_who_wait_get_room_in_turn_and_one_who_leaves_frees_its_own(scratch):
    with crowded(scratch) as daemon:
        api = daemon.local
        for name in "wxyz":
            api.act("POST", "/vms", vm(name, GIB, GIB // 4))
        begun = {name: begin(api, name) for name in "wxyz"}
        wait_in_line(api, begun["z"])
        assert held_vms(api) == 7
        api.ok("DELETE", f"/operations/{begun['y']}")
        assert api.operation(begun["y"])["state"] == "cancelled"
        assert api.get("/vms/y")["desired_power"] == "stopped"
        wait_until(lambda: held_vms(api) == 6, 10, "what it held is free")

        views = []

        def all_run():
            views.append(api.get("/hosts/h1/balloon"))
            return all(api.get(f"/operations/{begun[name]}")["state"] == "succeeded" for name in "wxz")

        wait_until(all_run, 60, "the others run")
        check_room_for_all(views)
        assert ran_in_order(api, "wxyz") == ["w", "x", "z"]
        assert api.get("/vms/y")["power"] == "stopped" and held_vms(api) == 6


def test_the_first_that_gets_no_room_is_refused_and_the_next_has_its_turn(scratch):
    with crowded(scratch, "--set", "memory.room_timeout=5s") as daemon:
        api = daemon.local
        api.act("POST", "/vms", vm("large", 5 * GIB, GIB // 4))
        api.act("POST", "/vms", vm("small", GIB // 2, GIB // 4))
        api.act("POST", "/vms/a/pause")  # a paused guest gives nothing
        large, small = begin(api, "large"), begin(api, "small")
        wait_in_line(api, small)
        assert held_vms(api) == 5
        ended = api.operation(large)
        assert ended["state"] == "failed" and ended["error"]["code"] == "insufficient_capacity", ended
        asked = 5 * GIB + 40 * MIB + 5 * GIB // 512
        numbers = ended["error"]["numbers"]
        assert numbers["asked_bytes"] == asked and numbers["free_bytes"] < asked, ended
        assert f"VM large needs {asked // MIB} MiB" in ended["error"]["detail"] and "a has 2560 MiB" in ended["error"]["detail"]
        assert ended["error"]["hint"]
        assert api.operation(small)["state"] == "succeeded"
        check_room_for_all([api.get("/hosts/h1/balloon")])
        assert ran_in_order(api, ["large", "small"]) == ["small"]
        wait_until(lambda: held_vms(api) == 4, 10, "what the refused one held is free")
        assert api.get("/vms/large")["desired_power"] == "stopped"


def test_growth_that_gets_no_room_in_time_is_refused_and_gives_back_what_it_held(scratch):
    with crowded(scratch, "--set", "memory.room_timeout=5s") as daemon:
        api = daemon.local
        api.act("POST", "/vms", vm("g", GIB, GIB // 4, desired_power="running", memory={
            "size_bytes": GIB, "min_bytes": GIB // 4, "max_bytes": 6 * GIB}))
        for name in "abc":
            api.act("POST", f"/vms/{name}/pause")
        before, held = api.get("/vms/g"), api.get("/hosts/h1")["allocation"]["held_bytes"]
        growing = api.ok("PATCH", "/vms/g", {"memory": {"size_bytes": 5 * GIB}}).json["id"]
        wait_in_line(api, growing)
        assert api.get("/hosts/h1")["allocation"]["held_bytes"] > held
        ended = api.operation(growing)
        assert ended["state"] == "failed" and ended["error"]["code"] == "insufficient_capacity", ended
        assert "VM g" in ended["error"]["detail"] and ended["error"]["hint"], ended
        after = api.get("/vms/g")
        assert after["power"] == "running" and after["pending"] == {} and after["memory"]["size_bytes"] == GIB
        assert after["memory"]["current_bytes"] <= before["memory"]["size_bytes"]
        wait_until(lambda: api.get("/hosts/h1")["allocation"]["held_bytes"] == held, 10, "what it held is free")
        check_room_for_all([api.get("/hosts/h1/balloon")])
