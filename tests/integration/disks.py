# SPDX-License-Identifier: Apache-2.0
"""For tests of disks: pools, images, guests' disks, and that database, libvirt, QEMU and files tell the same story."""
import concurrent.futures
import http.client
import json
import os
import sqlite3
import subprocess
import xml.etree.ElementTree as ET

from berth import ApiError
from conftest import add_host, guest_vm, wait_guest_ready
from lab import GuestAgent, wait_until

UNFINISHED = '/operations?filter=state%20eq%20"{}"'


def tool(*words):
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}"
    return done.stdout


def rows(daemon, sql, *values):
    with sqlite3.connect(f"file:{daemon.state_dir}/berth.db?mode=ro", uri=True) as database:
        return database.execute(sql, values).fetchall()


# ---------------------------------------------------------------- making

def make_pool(api, virt, name):
    path = virt.images_dir / name
    api.act("POST", "/pools", {"name": name, "kind": "dir", "path": str(path)})
    return path


def make_small_pool(api, virt, name, mib):
    """A pool on a file system of its own, which vanishes with the host."""
    path = virt.images_dir / name
    virt.namespace.shell(f"mkdir -p {path} && mount -t tmpfs -o size={mib}m,mode=700 none {path}")
    api.act("POST", "/pools", {"name": name, "kind": "dir", "path": str(path)})
    return path


def make_image(api, name, content):
    api.ok("POST", "/images", {"name": name, "format": "raw"})
    answer = api.request("PUT", f"/images/{name}/content?wait=60", raw=content,
                         headers={"Content-Type": "application/octet-stream"})
    assert answer.status == 200 and answer.json["state"] == "succeeded", answer
    return api.get(f"/images/{name}")


def make_guest(api, virt, name="g", **more):
    """Answers its agent, once the guest is up."""
    api.act("POST", "/vms", guest_vm(name, **more))
    return wait_up(api, virt, name)


def wait_up(api, virt, name="g", times=1):
    wait_guest_ready(api, name, times=times)
    agent = GuestAgent(virt, name)
    agent.wait_ready()
    return agent


# ---------------------------------------------------------------- looking

def chains(virt, name, inactive=False):
    """{disk: [files, top first]} as libvirt has it."""
    root = ET.fromstring(virt.virsh("dumpxml", name, *(["--inactive"] if inactive else [])))
    found = {}
    for disk in root.findall("./devices/disk"):
        files, node = [], disk
        while node is not None and node.find("source") is not None:
            if node.find("source").get("file"):
                files.append(node.find("source").get("file"))
            node = node.find("backingStore")
        found[disk.find("alias").get("name").removeprefix("ua-disk-")] = files
    return found


def recorded(api, pool, volume):
    return [layer["path"] for layer in api.get(f"/pools/{pool}/volumes/{volume}")["chain"]]


def assert_agree(api, virt, vm, disk, running=True):
    """The chain that is recorded, defined and, while it runs, written through by QEMU; answers it."""
    spec = api.get(f"/vms/{vm}")["disks"][disk]
    expected = recorded(api, spec["pool"], spec["volume"])
    assert chains(virt, vm, inactive=True)[disk] == expected
    if running:
        assert chains(virt, vm)[disk] == expected
        assert opened_by_qemu(virt, vm) >= set(expected)
    return expected


def opened_by_qemu(virt, vm):
    """The plain files under the host's images that the VM's process has open."""
    folder = f"/proc/{virt.qemu_pids()[vm]}/fd"
    found = set()
    for fd in os.listdir(folder):
        try:
            found.add(os.readlink(f"{folder}/{fd}"))
        except OSError:
            pass  # closed meanwhile
    return {path for path in found if path.startswith(str(virt.images_dir))}


def layers(daemon):
    """[(path, format, state)] of every layer that the database knows."""
    found = rows(daemon, "SELECT pool.name, file, format, layer.state FROM layer JOIN pool ON pool.id = pool_id")
    paths = {pool["name"]: pool["path"] for pool in daemon.local.get("/pools?page_size=100")["items"]}
    return [(os.path.join(paths[name], file), kind, state) for name, file, kind, state in found]


def files(virt, directories):
    """What lies in these directories, as the host sees it."""
    return {line for path in directories
            for line in virt.namespace.shell(f"[ ! -d {path} ] || find {path} -mindepth 1 -not -name lost+found").split()}


def carriers(virt):
    return [name for name in virt.virsh("list", "--all", "--name").split() if name.startswith("berth-job-")]


def wait_quiet(api, deadline=120):
    wait_until(lambda: not any(api.get(UNFINISHED.format(s))["items"] for s in ("running", "queued")), deadline,
               "all operations have ended")


def check_world(daemon, virt, agree=True):
    """Nothing is left over, nothing is missing, and each file is sound."""
    api = daemon.local
    wait_quiet(api)
    wait_until(lambda: carriers(virt) == [], 15, "no carrier is left")
    known = layers(daemon)
    assert {state for _, _, state in known} <= {"ready"}, known
    pools = [pool["path"] for pool in api.get("/pools?page_size=100")["items"]]
    assert files(virt, pools) == {path for path, _, _ in known}
    used = set()
    for vm in api.get("/vms?page_size=100")["items"]:
        running = vm["power"] in ("running", "paused")
        for disk, spec in vm["disks"].items():
            if agree and spec.get("volume"):
                assert_agree(api, virt, vm["name"], disk, running)
        if running:
            used |= opened_by_qemu(virt, vm["name"])
    for path, kind, _ in known:
        if kind == "qcow2" and path not in used:
            virt.namespace.shell(f"qemu-img check -q -f qcow2 {path}")


def failed(api, method, path, body=None, **more):
    """The problem a request ends with, be it refused at once or by its operation."""
    joint = "&" if "?" in path else "?"
    answer = api.request(method, f"{path}{joint}wait=120", body, timeout=150, **more)
    if answer.status >= 400:
        return answer.json
    assert answer.json["state"] == "failed", answer
    return answer.json["error"]


def content_of(api, pool, volume):
    connection = api.connect(60)
    try:
        connection.request("GET", f"/api/v1/pools/{pool}/volumes/{volume}/content")
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body[:600]
        return body
    finally:
        connection.close()


# ---------------------------------------------------------------- kills

def start_with_host(daemon, fault=None):
    daemon.start(fault=fault)
    wait_until(lambda: daemon.local.get("/hosts/h1")["state"] == "ok", 60, "the host is up")


def new_daemon(daemon, virt):
    daemon.start()
    add_host(daemon.local, "h1", virt.uri)
    return daemon.local


def die_at(daemon, fault, act):
    """Stops the daemon, starts it again and lets it kill itself at `fault` during act(api); answers what act answered."""
    daemon.stop()
    start_with_host(daemon, fault)

    def ask():
        try:
            return act(daemon.local)
        except (OSError, http.client.HTTPException, ApiError):
            return None
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        daemon.process.wait(90)
        answer = asked.result(90)
    assert daemon.process.returncode == -9, fault
    return answer


def kill_at(daemon, fault, act, meanwhile=None):
    """die_at, then runs meanwhile(), starts the daemon again and waits for the end of all operations."""
    answer = die_at(daemon, fault, act)
    if meanwhile:
        meanwhile()
    start_with_host(daemon)
    wait_quiet(daemon.local)
    return answer


def cancel_in_database(daemon, kind):
    """As if the cancel had been accepted just before berthd died."""
    with sqlite3.connect(f"{daemon.state_dir}/berth.db") as database:
        database.execute("UPDATE operation SET cancel = 1 WHERE kind = ? AND ended_at = 0", (kind,))


def latest(api, kind):
    """The newest operation of that kind."""
    found = [op for op in api.get("/operations?page_size=1000")["items"] if op["kind"] == kind]
    return max(found, key=lambda op: op["id"]) if found else None


def qemu_img_info(path, kind):
    return json.loads(tool("qemu-img", "info", "-U", "-f", kind, "--output=json", path))

