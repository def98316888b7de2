# SPDX-License-Identifier: Apache-2.0
"""What must never happen to layers that someone still reads or writes."""
import os

import pytest

from conftest import MIB, add_host, small_vm


@pytest.fixture(name="slow")
def fixture_slow(fake):
    """A host whose calls take so long that work can be put in line behind them."""
    add_host(fake.local, "h2", f"fake:///{os.path.basename(fake.state_dir)}-h2?delay_ms=300")
    return fake.local


def refused(answer, *words):
    assert answer.status == 409 and answer.json["code"] == "wrong_state", answer
    for word in words:
        assert word in answer.json["detail"], answer
    return answer.json


# ---------------------------------------------------------------- clones of what is being deleted

@pytest.mark.parametrize("mode", ["linked", "full"])
def test_no_clone_is_made_of_a_vm_whose_deletion_is_in_line(slow, mode):
    api = slow
    api.act("POST", "/vms", small_vm("g", host="h2", disks={"d": {"size_bytes": MIB}}, desired_power="running"))
    api.act("POST", "/vms/g/snapshots", {"name": "a"})
    api.ok("POST", "/vms/g/stop")
    deletion = api.ok("DELETE", "/vms/g?force=true&delete_disks=true").json
    problem = refused(api.request("POST", "/vms/g/clone", {"name": "c", "snapshot": "a", "mode": mode}), deletion["id"])
    assert problem["hint"]
    assert api.operation(deletion["id"])["state"] == "succeeded"
    assert api.get("/vms")["items"] == []
