# SPDX-License-Identifier: Apache-2.0
"""CPUs of one's own: where libvirt and the kernel let guests run, and that nobody else runs where one VM owns the CPU."""
import json
import os

import pytest

from conftest import guest_vm
from disks import die_at, rows
from lab import wait_until

pytestmark = pytest.mark.skipif(os.cpu_count() != 2, reason="one CPU to own and one for all others")


def chosen(daemon, name):
    """The CPUs that were chosen for it, as recorded with what it holds."""
    (text,), = rows(daemon, "SELECT cpus FROM reservation r JOIN vm ON vm.id = r.vm_id WHERE vm.name = ?", name)
    return json.loads(text)


def pinned(virt, name):
    """Where its only vCPU and its emulator may run, as libvirt says."""
    return [virt.virsh(command, name).split()[-1] for command in ("vcpupin", "emulatorpin")]


def scheduled(virt, name):
    """Where the kernel lets that vCPU run."""
    pid = virt.qemu_pids()[name]
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as comm:
            if comm.read().startswith("CPU 0/"):
                return os.sched_getaffinity(int(thread))
    return None


def threads_run_on(virt, name):
    """Where the kernel lets any thread of it run."""
    pid = virt.qemu_pids()[name]
    return set().union(*(os.sched_getaffinity(int(thread)) for thread in os.listdir(f"/proc/{pid}/task")))


def change_pinning(api, name, pinning):
    api.act("PATCH", f"/vms/{name}", {"cpu": {"pinning": pinning}})
    vm = api.get(f"/vms/{name}")
    assert vm["cpu"]["pinning"] == pinning and vm["pending"] == {}, vm


def check_floats(virt, name):
    """On both CPUs, once the other one is nobody's own."""
    wait_until(lambda: pinned(virt, name) == ["0-1", "0-1"] and scheduled(virt, name) == {0, 1}, 30,
               f"{name} may run on all CPUs")


def check_confined(virt, name, cpu):
    """The whole process, not only its vCPU."""
    wait_until(lambda: pinned(virt, name) == [str(cpu), str(cpu)] and threads_run_on(virt, name) == {cpu}, 30,
               f"{name} may run on CPU {cpu} alone")


def check_owns(daemon, virt, name):
    """Answers the CPU that is its own."""
    (cpu,) = chosen(daemon, name)["vcpus"]
    assert pinned(virt, name) == [str(cpu), chosen(daemon, name)["emulator"]] and scheduled(virt, name) == {cpu}
    return cpu


def test_pinning_is_what_libvirt_and_the_kernel_have(real, virt):
    api = real.local
    for name, pinning in [("own", "dedicated"), ("near", "auto")]:
        api.act("POST", "/vms", guest_vm(name, cpu={"count": 1, "model": "maximum", "pinning": pinning}))
    own = check_owns(real, virt, "own")
    assert pinned(virt, "near") == 2 * [chosen(real, "near")["cpus"]] and scheduled(virt, "near") == {1 - own}
    refused = api.request("PATCH", "/vms/near", {"cpu": {"pinning": "dedicated"}})
    assert refused.status == 409 and refused.json["code"] == "insufficient_capacity", refused
    assert refused.json["numbers"] == {"asked_vcpus": 1, "free_vcpus": 0, "host_threads": 2, "dedicated_vcpus": 1}, refused
    assert scheduled(virt, "near") == {1 - own} and api.get("/vms/near")["cpu"]["pinning"] == "auto"
    change_pinning(api, "own", "none")
    check_floats(virt, "own")
    change_pinning(api, "near", "dedicated")
    check_confined(virt, "own", 1 - check_owns(real, virt, "near"))
    change_pinning(api, "near", "none")
    check_floats(virt, "near")
    check_floats(virt, "own")
    api.act("POST", "/vms/near/stop")
    api.act("POST", "/vms/near/start")
    assert "vcpupin" not in virt.virsh("dumpxml", "near")


def create(api, name, pinning):
    api.act("POST", "/vms", guest_vm(name, cpu={"count": 1, "model": "maximum", "pinning": pinning}))


def check_nothing_due(daemon):
    """Every process is where it belongs, and one that floats is remembered as nothing else."""
    wait_until(lambda: rows(daemon, """SELECT count(*) FROM reservation WHERE cpus_due
                                       OR (cpus IS NOT NULL AND json_extract(cpus, '$.nodes') = '')""") == [(0,)],
               30, "nothing is left to do")


def test_others_leave_a_cpu_that_one_owns_and_may_come_back(real, virt):
    api = real.local
    create(api, "any", "none")
    create(api, "near", "auto")
    create(api, "own", "dedicated")
    own = check_owns(real, virt, "own")
    check_confined(virt, "any", 1 - own)
    check_confined(virt, "near", 1 - own)
    create(api, "late", "none")  # begins where it belongs
    assert virt.virsh("dumpxml", "--inactive", "late").count(f"cpuset='{1 - own}'") == 2
    check_confined(virt, "late", 1 - own)
    api.act("POST", "/vms/any/suspend")
    api.act("POST", "/vms/own/stop")
    for name in ("near", "late"):
        check_floats(virt, name)
    api.act("POST", "/vms/any/start")
    check_floats(virt, "any")  # though it was saved while it was confined
    check_nothing_due(real)
    virt.virsh("start", "own")  # with the CPU of its definition
    (own,) = wait_until(lambda: [check_owns(real, virt, "own")], 30, "it owns a CPU when it was seen")
    for name in ("any", "near", "late"):
        check_confined(virt, name, 1 - own)
    api.act("POST", "/vms/any/stop")
    virt.virsh("start", "any")
    check_confined(virt, "any", 1 - own)
    api.act("DELETE", "/vms/own?force=true")
    for name in ("any", "near", "late"):
        check_floats(virt, name)
    check_nothing_due(real)


def test_what_was_to_be_moved_is_moved_after_a_restart(real, virt):
    api = real.local
    create(api, "any", "none")
    body = guest_vm("own", cpu={"count": 1, "model": "maximum", "pinning": "dedicated"})
    assert die_at(real, "vm.create/start:after", lambda a: a.request("POST", "/vms", body)).status == 202
    real.start()
    own = check_owns(real, virt, "own")
    check_confined(virt, "any", 1 - own)
    real.kill()
    virt.virsh("destroy", "own")
    assert scheduled(virt, "any") == {1 - own}
    real.start()
    check_floats(virt, "any")
    check_nothing_due(real)
