# SPDX-License-Identifier: Apache-2.0
"""VMs from templates: an image, its vm_defaults, and what a request says over them."""
import os

from conftest import MIB


def make_image(api, name, **more):
    api.ok("POST", "/images", {"name": name, "format": "raw", **more})
    api.act("PUT", f"/images/{name}/content", raw=os.urandom(2 * MIB),
            headers={"Content-Type": "application/octet-stream"})


def test_a_vm_begins_as_its_template_and_the_request_has_the_last_word(fake):
    api = fake.local
    make_image(api, "debian", min_memory_bytes=256 * MIB,
               vm_defaults={"cpu": {"count": 2}, "labels": {"from": "template"}, "nics": {"lan": {}},
                            "disks": {"data": {"size_bytes": 16 * MIB}}})
    api.act("POST", "/images/debian/vms", {"name": "a", "disks": {"root": {"size_bytes": 32 * MIB}, "data": None}})
    vm = api.get("/vms/a")
    assert vm["cpu"]["count"] == 2 and vm["labels"] == {"from": "template"} and "lan" in vm["nics"]
    assert vm["memory"]["size_bytes"] == 256 * MIB
    assert set(vm["disks"]) == {"root"} and vm["disks"]["root"]["image"] == "debian"
    assert vm["disks"]["root"]["size_bytes"] == 32 * MIB
    volume = api.get(f"/pools/default/volumes/{vm['disks']['root']['volume']}")
    assert len(volume["chain"]) == 2
    api.act("POST", "/images/debian/vms", {"name": "b", "memory": {"size_bytes": 512 * MIB}, "cpu": {"count": 1}})
    vm = api.get("/vms/b")
    assert vm["memory"]["size_bytes"] == 512 * MIB and vm["cpu"]["count"] == 1 and set(vm["disks"]) == {"root", "data"}
    assert vm["disks"]["root"]["size_bytes"] == 2 * MIB
    refused = api.request("DELETE", "/images/debian")
    assert refused.status == 409 and refused.json["code"] == "in_use", refused


def test_what_a_template_lacks_or_says_wrongly_is_named(fake):
    api = fake.local
    wrong = api.request("POST", "/images", {"name": "x", "format": "raw", "vm_defaults": {"cpu": {"count": 0}, "nonsense": 1}})
    assert wrong.status == 400
    assert {e["pointer"] for e in wrong.json["errors"]} == {"/vm_defaults/cpu/count", "/vm_defaults/nonsense"}
    make_image(api, "plain", min_memory_bytes=128 * MIB)
    unnamed = api.request("POST", "/images/plain/vms", {})
    assert unnamed.status == 400 and [e["pointer"] for e in unnamed.json["errors"]] == ["/name"]
    small = api.request("POST", "/images/plain/vms", {"name": "a", "memory": {"size_bytes": 64 * MIB}})
    assert small.status == 400 and small.json["errors"][0]["pointer"] == "/memory/size_bytes", small
    other = api.request("POST", "/images/plain/vms", {"name": "a", "architecture": "aarch64"})
    assert other.status == 400 and other.json["errors"][0]["pointer"] == "/architecture", other
    assert api.get("/vms")["items"] == []
