# SPDX-License-Identifier: Apache-2.0
"""The demo's part about memory: more guests than there is room for, memory that moves to who needs it, a refusal.

The host is put into a group of the demo's own, whose reserve leaves ROOM bytes beside what runs already, and back afterwards.
"""
import demo_place as place
from demo_guest import guestctl, wait_for_agent
from demo_place import DemoError, act, call, request, wait_until
from demo_step import Step

MIB = 1 << 20
GROUP = "berth-demo"
NAMES = [f"{place.VM}-{letter}" for letter in "abc"]
SIZE, FLOOR, ROOM = 384 * MIB, 128 * MIB, 900 * MIB
FILL_MIB = 240


def mib(size):
    return f"{size / MIB:.0f} MiB"


def limit_host(host):
    """Returns what is left for guests, and the group that the host was in."""
    before = call("GET", f"/hosts/{host}")
    reserve = before["memory"]["total_bytes"] - before["allocation"]["held_bytes"] - ROOM
    call("PUT", f"/host-groups/{GROUP}", {"name": GROUP, "overcommit": {"mode": "balloon"},
                                          "host_reserve": {"memory_bytes": reserve}})
    call("PATCH", f"/hosts/{host}", {"group": GROUP})
    return before["group"]


def guest(name, size, floor):
    return {"name": name, "desired_power": "running", "cpu": {"count": 1, "model": "maximum"},
            "memory": {"size_bytes": size, "min_bytes": floor}, "boot": place.BOOT_GUEST}


def start_guests():
    """Each is promised its whole size; what the host lacks for the last, the others have given before it starts."""
    for name in NAMES:
        with Step("") as step:
            act("POST", "/vms", guest(name, SIZE, FLOOR))
            step.text = f"VM {name} is started with {mib(SIZE)}, its floor is {mib(FLOOR)}"
            wait_for_agent(name, 100)
            step.text += "; it is up"


def memory_of(host):
    """What each of the guests has now; None until all are known."""
    view = call("GET", f"/hosts/{host}/balloon")
    seen = {vm["name"]: vm["current_bytes"] for vm in view["vms"] or [] if vm["name"] in NAMES}
    return seen if len(seen) == len(NAMES) and all(seen.values()) else None


def describe(memory):
    return ", ".join(f"{name[len(place.VM) + 1:]} {mib(size)}" for name, size in sorted(memory.items()))


def move_memory(host):
    needy = NAMES[0]
    with Step("") as step:
        before = wait_until(lambda: memory_of(host), 30, "the guests' memory is not known")
        step.text = f"the guests have: {describe(before)}; {mib(sum(before.values()))} of {mib(len(NAMES) * SIZE)} promised"
    with Step("") as step:
        guestctl("memory-fill", FILL_MIB, vm=needy)

        def has_grown():
            now = memory_of(host)
            return now if now and now[needy] >= (FILL_MIB + 60) * MIB else None

        after = wait_until(has_grown, 60, f"{needy} did not get the memory that it needs", 0.2)
        vm = next(vm for vm in call("GET", f"/hosts/{host}/balloon")["vms"] if vm["name"] == needy)
        step.text = f"{needy} fills {FILL_MIB} MiB: now {describe(after)} ({needy[len(place.VM) + 1:]}: {vm['reason']})"


def show_refusal():
    with Step("") as step:
        status, problem = request("POST", "/api/v1/vms", guest(f"{place.VM}-d", 512 * MIB, 512 * MIB))
        if status != 409:
            raise DemoError(f"a VM beyond all floors was answered with {status}: {problem}")
        step.text = f"one more with 512 MiB guaranteed is refused: {problem['detail']} ({problem['hint']})"


def show_memory(host):
    with Step("") as step:
        group = limit_host(host)
        step.text = f"host {host} keeps all but {mib(ROOM)} for itself; its group moves memory between guests"
    start_guests()
    move_memory(host)
    show_refusal()
    with Step("these guests are deleted, and the host is in its group again"):
        for name in NAMES:
            act("DELETE", f"/vms/{name}?delete_disks=true&force=true")
        call("PATCH", f"/hosts/{host}", {"group": group})
        call("DELETE", f"/host-groups/{GROUP}")
