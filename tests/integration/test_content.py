# SPDX-License-Identifier: Apache-2.0
"""A volume's content in and out: whole, in ranges, slowly, cut off, refused; and what is left behind."""
import base64
import hashlib
import itertools
import os
import re
import socket
import struct
import tempfile
import threading
import time

import pytest

from berth import API, ROOT, Berthd, UnixConnection
from conftest import MIB, add_host, daemon_for, small_vm
from lab import PrivateLibvirt, wait_until

RELEASE = os.environ.get("BERTHD_RELEASE", os.path.join(ROOT, "build/berthd"))
PATH = "/pools/default/volumes/{}/content"


@pytest.fixture(params=["fake", "real"])
def own_daemon(request):
    """A daemon with one host, a fake one or a real libvirt, that the test may stop and kill."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def shared_fake():
    with tempfile.TemporaryDirectory(prefix="berth-", dir="/tmp") as directory:
        with Berthd(directory, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
            add_host(daemon.local, "h1", "fake:///content-h1?cpus=16&memory_mib=65536")
            yield daemon


@pytest.fixture(scope="module")
def shared_real():
    with tempfile.TemporaryDirectory(prefix="berth-", dir="/tmp") as directory:
        with PrivateLibvirt(os.path.join(directory, "v")) as virt, daemon_for([virt], directory) as daemon:
            add_host(daemon.local, "h1", virt.uri)
            yield daemon


@pytest.fixture(params=["fake", "real"])
def daemon(request):
    """The same, shared by the tests of this file: each makes volumes of its own."""
    return request.getfixturevalue("shared_" + request.param)


NUMBERS = itertools.count(1)


def make_volume(api, size=8 * MIB, form="raw"):
    name = f"v{next(NUMBERS)}"
    api.act("POST", "/pools/default/volumes", {"name": name, "size_bytes": size, "format": form, "host": "h1"})
    return PATH.format(name)


def noise(size):
    return os.urandom(MIB) * (size // MIB) + os.urandom(size % MIB)


def put(api, path, data, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.request("PUT", path, raw=data, headers=named)


class Got:
    def __init__(self, connection, method, path, headers):
        connection.request(method, API + path, headers=headers or {})
        response = connection.getresponse()
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()


def fetch(daemon, path, headers=None, method="GET"):
    connection = UnixConnection(daemon.socket, 150)
    try:
        return Got(connection, method, path, headers)
    finally:
        connection.close()


def raw_socket(daemon):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(60)
    sock.connect(daemon.socket)
    return sock


def head_of(method, path, **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {API}{path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()


def read_head(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            break
        data += more
    return data


def operations(api, kind):
    return api.get(f"/operations?sort=-created_at&filter=kind%20eq%20{kind}")["items"]


def last_operation(api, kind):
    """The newest one, when it has ended."""
    found = operations(api, kind)[0]
    return api.operation(found["id"])


def is_empty(daemon, path, size):
    got = fetch(daemon, path)
    assert got.status == 200, got.body[:500]
    return got.body == bytes(size)


def digest_header(data):
    return "sha-256=:" + base64.b64encode(hashlib.sha256(data).digest()).decode() + ":"


# ---- whole ----

def test_what_was_put_is_got(daemon):
    api = daemon.local
    path = make_volume(api)
    data = noise(8 * MIB)
    answer = put(api, path, data, Content_Digest=digest_header(data))
    assert answer.status == 200 and answer.json["name"] in path, answer
    assert answer.headers["etag"]
    got = fetch(daemon, path)
    assert got.status == 200 and got.body == data
    assert got.headers["content-length"] == str(len(data))
    assert got.headers["content-type"] == "application/octet-stream"
    for kind in ("volume.upload", "volume.download"):
        operation = last_operation(api, kind)
        assert operation["state"] == "succeeded", operation


def test_shorter_content_is_filled_with_zeroes(daemon):
    api = daemon.local
    path = make_volume(api)
    assert put(api, path, noise(8 * MIB)).status == 200
    assert put(api, path, b"short").status == 200
    assert fetch(daemon, path).body == b"short".ljust(8 * MIB, b"\0")


def test_range_and_head(daemon):
    api = daemon.local
    path = make_volume(api)
    data = noise(8 * MIB)
    assert put(api, path, data).status == 200
    part = fetch(daemon, path, {"Range": "bytes=1000000-5999999"})
    assert part.status == 206 and part.body == data[1000000:6000000]
    assert part.headers["content-range"] == f"bytes 1000000-5999999/{len(data)}"
    assert fetch(daemon, path, {"Range": "bytes=-7"}).body == data[-7:]
    beyond = fetch(daemon, path, {"Range": f"bytes={len(data)}-"})
    assert beyond.status == 416, beyond.body
    before = len(operations(api, "volume.download"))
    head = fetch(daemon, path, method="HEAD")
    assert head.status == 200 and head.headers["content-length"] == str(len(data)) and head.body == b""
    assert len(operations(api, "volume.download")) == before


def test_chunked_upload_of_unknown_length(daemon):
    api = daemon.local
    path = make_volume(api)
    data = noise(5 * MIB + 123)
    connection = UnixConnection(daemon.socket, 60)
    connection.request("PUT", API + path, iter([data[:1000], data[1000:]]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()
    assert fetch(daemon, path).body[:len(data)] == data


# ---- qcow2 ----

def test_qcow2_goes_out_and_in_as_a_file(shared_real, scratch):
    api = shared_real.local
    path = make_volume(api, 64 * MIB, "qcow2")
    made = fetch(shared_real, path)
    assert made.status == 200 and made.body[:4] == b"QFI\xfb", made.body[:500]
    image = os.path.join(scratch, "i.qcow2")
    assert os.system(f"qemu-img create -q -f qcow2 {image} 64M && "
                     f"qemu-io -f qcow2 -c 'write -P 0xab 3M 5M' {image} >/dev/null") == 0
    with open(image, "rb") as file:
        data = file.read()
    answer = put(api, path, data)
    assert answer.status == 200, answer
    got = fetch(shared_real, path)
    with open(image, "wb") as file:
        file.write(got.body)
    assert os.system(f"qemu-img check -q -f qcow2 {image} && "
                     f"qemu-io -f qcow2 -c 'read -P 0xab 3M 5M' -c 'read -P 0 0 3M' {image} >/dev/null") == 0
    assert api.get(path[:-len("/content")])["drift"] == ""


def qcow2_header(size, backing=b"", incompatible=0, version=3):
    header = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", version, 512 if backing else 0, len(backing), 16, size, 0, 1,
                         0x30000, 0x10000, 1, 0, 0, incompatible, 0, 0, 4, 104)
    return (header.ljust(512, b"\0") + backing).ljust(512 * 1024, b"\0")


@pytest.mark.parametrize("data", [
    qcow2_header(64 * MIB, backing=b"/etc/passwd"),
    qcow2_header(64 * MIB, backing=b"json:{\"driver\":\"nbd\"}"),
    qcow2_header(64 * MIB, incompatible=4),
    qcow2_header(64 * MIB, incompatible=1 << 40),
    qcow2_header(128 * MIB),
    b"not a qcow2 file at all" * 5000,
    b"",
], ids=["backing", "json", "data-file", "unknown-bit", "size", "other", "empty"])
def test_hostile_qcow2_is_refused_before_a_byte_is_forwarded(shared_fake, data):
    api = shared_fake.local
    path = make_volume(api, 64 * MIB, "qcow2")
    before = fetch(shared_fake, path).body
    answer = put(api, path, data)
    assert answer.status == 422 and answer.json["code"] == "unprocessable", answer
    operation = last_operation(api, "volume.upload")
    assert operation["state"] == "failed" and operation["error"]["code"] == "unprocessable", operation
    assert fetch(shared_fake, path).body == before


# ---- refused ----

def test_refused_before_the_body(daemon):
    api = daemon.local
    path = make_volume(api)
    for target, headers, status in [
            (path, {"Content_Length": 8 * MIB + 1}, 413),
            (PATH.format("none"), {"Content_Length": 5}, 404),
            (path, {"Content_Length": 5, "Content_Range": "bytes 0-4/10"}, 422),
            (path, {"Content_Length": 5, "If_Match": '"x-1"'}, 412),
            (path, {"Content_Length": 5, "Content_Type": "application/json"}, 415)]:
        sock = raw_socket(daemon)
        sock.sendall(head_of("PUT", target, Expect="100-continue", **headers))
        answer = read_head(sock)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
        sock.close()
    sock = raw_socket(daemon)
    sock.sendall(head_of("PUT", path, Expect="100-continue", Content_Length=5))
    assert read_head(sock).startswith(b"HTTP/1.1 100 ")
    sock.sendall(b"hello")
    assert read_head(sock).startswith(b"HTTP/1.1 200 ")
    sock.close()


def test_too_much_is_413_in_the_middle_and_leaves_it_empty(daemon):
    api = daemon.local
    path = make_volume(api)
    assert put(api, path, noise(8 * MIB)).status == 200
    sock = raw_socket(daemon)
    sock.sendall(head_of("PUT", path, Transfer_Encoding="chunked"))
    block = os.urandom(MIB)
    try:
        for _ in range(40):
            sock.sendall(b"%x\r\n" % len(block) + block + b"\r\n")
    except OSError:
        pass  # it had enough
    answer = read_head(sock)
    assert answer.startswith(b"HTTP/1.1 413 ") and b"too_large" in answer, answer
    sock.close()
    assert last_operation(api, "volume.upload")["error"]["code"] == "too_large"
    assert is_empty(daemon, path, 8 * MIB)


def test_wrong_digest_is_422_and_leaves_it_empty(daemon):
    api = daemon.local
    path = make_volume(api)
    answer = put(api, path, b"hello", Content_Digest=digest_header(b"hellx"))
    assert answer.status == 422 and "sha-256" in answer.json["detail"], answer
    assert is_empty(daemon, path, 8 * MIB)


def test_running_vm_refuses_and_stopped_one_takes(daemon):
    api = daemon.local
    api.act("POST", "/vms", small_vm("a", disks={"root": {"size_bytes": 8 * MIB, "format": "raw"}}))
    volume = api.get("/vms/a")["disks"]["root"]["volume"]
    path = PATH.format(volume)
    api.act("POST", "/vms/a/start")
    for answer in (put(api, path, b"hello"), api.request("GET", path)):
        assert answer.status == 409 and answer.json["code"] == "wrong_state" and answer.json["hint"], answer
    api.act("POST", "/vms/a/stop")
    assert put(api, path, b"hello").status == 200
    assert fetch(daemon, path).body[:5] == b"hello"
    api.act("POST", "/vms/a/start")
    api.act("POST", "/vms/a/stop")


# ---- slow, gone, stopped ----

def begin_upload(daemon, path, length):
    """With the first MiB sent."""
    sock = raw_socket(daemon)
    sock.sendall(head_of("PUT", path, Content_Length=length))
    sock.sendall(os.urandom(MIB))
    return sock


def wait_for_transfer(api, kind):
    wait_until(lambda: [o for o in operations(api, kind) if o["state"] == "running" and
                        o["progress"]["phase"] == "transfer"], 60, f"{kind} moves bytes")


def test_volume_is_busy_while_it_is_written(daemon):
    api = daemon.local
    path = make_volume(api)
    sock = begin_upload(daemon, path, 8 * MIB)
    wait_for_transfer(api, "volume.upload")
    for answer in (put(api, path, b"hello"), api.request("GET", path),
                   api.request("DELETE", path[:-len("/content")])):
        assert answer.status == 409 and answer.json["code"] == "busy", answer
    sock.sendall(os.urandom(7 * MIB))
    assert read_head(sock).startswith(b"HTTP/1.1 200 ")
    sock.close()
    assert fetch(daemon, path).status == 200


def test_client_that_leaves_in_the_middle_leaves_an_empty_volume(daemon):
    api = daemon.local
    path = make_volume(api)
    sock = begin_upload(daemon, path, 8 * MIB)
    wait_for_transfer(api, "volume.upload")
    sock.close()
    operation = last_operation(api, "volume.upload")
    assert operation["state"] == "failed" and operation["error"]["code"] == "gone", operation
    assert is_empty(daemon, path, 8 * MIB)


def test_cancelled_operation_ends_the_upload(daemon):
    api = daemon.local
    path = make_volume(api)
    sock = begin_upload(daemon, path, 8 * MIB)
    wait_for_transfer(api, "volume.upload")
    api.ok("DELETE", f"/operations/{operations(api, 'volume.upload')[0]['id']}")
    sock.sendall(os.urandom(MIB))
    assert read_head(sock).startswith(b"HTTP/1.1 409 ")
    sock.close()
    assert last_operation(api, "volume.upload")["state"] == "cancelled"
    assert is_empty(daemon, path, 8 * MIB)


def test_reader_that_leaves_frees_the_volume(daemon):
    api = daemon.local
    path = make_volume(api, size=64 * MIB)
    assert put(api, path, noise(64 * MIB)).status == 200
    sock = raw_socket(daemon)
    sock.sendall(head_of("GET", path))
    assert read_head(sock).startswith(b"HTTP/1.1 200 ")
    wait_for_transfer(api, "volume.download")
    sock.close()
    assert last_operation(api, "volume.download")["state"] == "failed"
    api.act("DELETE", path[:-len("/content")])


def test_stopping_the_daemon_ends_transfers_and_the_next_one_cleans_up(own_daemon):
    own_daemon.stop()
    own_daemon.start("--set", "stop_timeout=500ms")
    wait_until(lambda: own_daemon.local.get("/hosts/h1")["state"] == "ok", 60, "the host is up")
    path, sock = begin_on(own_daemon)
    started = time.monotonic()
    own_daemon.stop(deadline=60)
    assert time.monotonic() - started < 20
    sock.close()
    check_interrupted(own_daemon, path)


def test_killed_daemon_leaves_an_empty_volume(own_daemon):
    path, sock = begin_on(own_daemon)
    own_daemon.kill()
    sock.close()
    check_interrupted(own_daemon, path)


def begin_on(daemon):
    path = make_volume(daemon.local)
    sock = begin_upload(daemon, path, 8 * MIB)
    wait_for_transfer(daemon.local, "volume.upload")
    return path, sock


def check_interrupted(daemon, path):
    """A fake host forgets all with its process; but the undo has made the file anew."""
    daemon.start()
    operation = last_operation(daemon.local, "volume.upload")
    assert operation["state"] == "failed" and operation["error"]["code"] == "gone", operation
    assert is_empty(daemon, path, 8 * MIB)


def test_slow_reader_and_writer_disturb_nobody(daemon):
    """They trickle, each held back by the other side; meanwhile requests are as fast as before."""
    api = daemon.local
    one, two = make_volume(api, 64 * MIB), make_volume(api, 64 * MIB)
    assert put(api, two, noise(64 * MIB)).status == 200
    alone = median_get(api)
    reader = raw_socket(daemon)
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.sendall(head_of("GET", two))
    writer = begin_upload(daemon, one, 64 * MIB)
    wait_for_transfer(api, "volume.upload")
    wait_for_transfer(api, "volume.download")
    for _ in range(5):
        reader.recv(1000)
        writer.sendall(b"x" * 1000)
        assert median_get(api) < 10 * alone + 0.02
    reader.close()
    writer.close()
    last_operation(api, "volume.upload")


# ---- much ----

def median_get(api, n=30):
    times = []
    for _ in range(n):
        started = time.monotonic()
        assert api.request("GET", "/hosts/h1").status == 200
        times.append(time.monotonic() - started)
    return sorted(times)[n // 2]


def resident_bytes(daemon):
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) * 1024


class Watcher(threading.Thread):
    """Looks at memory and answers while something else goes on."""

    def __init__(self, daemon):
        super().__init__()
        self.daemon_under_test = daemon
        self.most, self.medians = 0, []
        self.is_over = threading.Event()

    def run(self):
        api = self.daemon_under_test.local
        while not self.is_over.is_set():
            self.most = max(self.most, resident_bytes(self.daemon_under_test))
            self.medians.append(median_get(api, 9))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.join()


class Pattern:
    """A file of many different bytes that is never all in memory."""

    def __init__(self, size):
        self.size, self.at = size, 0
        self.block = os.urandom(MIB - 1)
        self.hash = hashlib.sha256()

    def read(self, _n=-1):
        data = self.block[:self.size - self.at]
        self.at += len(data)
        self.hash.update(data)
        return data


def test_much_goes_in_and_out_with_little_memory_and_no_delay(scratch, virt):
    size = 256 * MIB
    with daemon_for([virt], scratch, binary=RELEASE) as daemon:
        add_host(daemon.local, "h1", virt.uri)
        api = daemon.local
        path = make_volume(api, size=size)
        assert put(api, path, b"warm").status == 200 and fetch(daemon, path, {"Range": "bytes=0-9"}).status == 206
        alone, before = median_get(api), resident_bytes(daemon)
        source = Pattern(size)
        with Watcher(daemon) as watcher:
            connection = UnixConnection(daemon.socket, 150)
            connection.request("PUT", API + path, source, headers={"Content-Length": str(size)})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            connection.close()
            up, growth_up = list(watcher.medians), watcher.most - before
            assert download_digest(daemon, path, size) == source.hash.hexdigest()
        down = watcher.medians[len(up):]
        growth = watcher.most - before
        print(f"GET alone {alone * 1000:.2f} ms, during upload {max(up) * 1000:.2f}, during download "
              f"{max(down) * 1000:.2f}; memory grew by {growth_up // 1024} and {growth // 1024} KiB")
        assert growth < 16 * MIB
        for medians in (up, down):
            assert sorted(medians)[len(medians) // 2] < 10 * alone + 0.02, (alone, medians)


def download_digest(daemon, path, size):
    connection = UnixConnection(daemon.socket, 150)
    connection.request("GET", API + path)
    answer = connection.getresponse()
    digest, n = hashlib.sha256(), 0
    while data := answer.read(MIB):
        digest.update(data)
        n += len(data)
    connection.close()
    assert n == size
    return digest.hexdigest()


def test_viewer_may_not_read_content_and_operator_may(shared_fake):
    api = shared_fake.local
    path = make_volume(api)
    for role, status in (("viewer", 403), ("operator", 200)):
        secret = api.ok("POST", "/tokens", {"name": role, "role": role}).json["secret"]
        assert shared_fake.tcp(secret).request("GET", path).status == status
        assert shared_fake.tcp(secret).request("PUT", path, raw=b"x").status == status
