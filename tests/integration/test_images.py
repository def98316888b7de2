# SPDX-License-Identifier: Apache-2.0
"""Images: what is refused before any tool sees it, imports of every format, uploads that break, fetching, crashes."""
import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import socket
import socketserver
import subprocess
import sys
import tarfile
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "hostile"))

import make_hostile_images as hostile_images  # noqa: E402  pylint: disable=wrong-import-position
from berth import Berthd  # noqa: E402  pylint: disable=wrong-import-position
from conftest import MIB, add_host  # noqa: E402  pylint: disable=wrong-import-position
from disks import start_with_host  # noqa: E402  pylint: disable=wrong-import-position
from faults import MOMENTS, step_names  # noqa: E402  pylint: disable=wrong-import-position
from lab import wait_until  # noqa: E402  pylint: disable=wrong-import-position

CANARY = "canary-" + "7f3a91c05e" * 4


def daemon(scratch, *arguments):
    return Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true", *arguments)


@pytest.fixture
def service(scratch):
    with daemon(scratch) as running:
        yield running


def library(running):
    return os.path.join(running.state_dir, "images")


def files(running):
    """All files in the library, relative."""
    found = []
    for folder, _, names in os.walk(library(running)):
        found += [os.path.relpath(os.path.join(folder, name), library(running)) for name in names]
    return sorted(found)


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def make_disk(directory, size=16 * MIB, name="disk.raw"):
    """A raw disk with data here and there, whose bytes tell where they belong."""
    path = os.path.join(directory, name)
    with open(path, "wb") as out:
        out.truncate(size)
        for offset in range(0, size, 3 * MIB):
            out.seek(offset)
            out.write(hashlib.sha256(str(offset).encode()).digest() * 4096)
    return path


def convert(source, kind, directory, *options):
    path = os.path.join(directory, f"made{len(os.listdir(directory))}.{kind}")
    run("qemu-img", "convert", "-f", "raw", "-O", kind, *options, source, path)
    return path


def make_ova(source, directory):
    disk = convert(source, "vmdk", directory, "-o", "subformat=streamOptimized")
    path = os.path.join(directory, "made.ova")
    description = os.path.join(directory, "made.ovf")
    with open(description, "wb") as out:
        out.write(hostile_images.ovf(href="disk1.vmdk"))
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(description, "made.ovf")
        archive.add(disk, "disk1.vmdk")
    return path


def create(running, name, **more):
    return running.local.ok("POST", "/images", {"name": name, **more})


def content(path):
    with open(path, "rb") as stream:
        return stream.read()


def upload(running, name, data, wait=60, **headers):
    return running.local.request("PUT", f"/images/{name}/content?wait={wait}", raw=data,
                                 headers={"Content-Type": "application/octet-stream", **headers})


def announce(running, name, length, **headers):
    """Sends the headers of an upload alone: what is refused, is refused before its body. Answers status and text."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(20)
        link.connect(running.socket)
        lines = [f"PUT /api/v1/images/{name}/content HTTP/1.1", "Host: x", "Content-Type: application/octet-stream",
                 "Expect: 100-continue", f"Content-Length: {length}", *(f"{key}: {value}" for key, value in headers.items())]
        link.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        text = b""
        while b"\r\n\r\n" not in text or not text.rstrip().endswith(b"}"):
            data = link.recv(65536)
            if not data:
                break
            text += data
    return int(text.split()[1]), text.decode().replace(" ", "")


def chunked(running, name, length):
    """Uploads so many bytes without telling how many; answers the status."""
    connection = running.local.connect(20)
    try:
        connection.putrequest("PUT", f"/api/v1/images/{name}/content")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        try:
            for _ in range(length // 65536):
                connection.send(b"10000\r\n" + bytes(65536) + b"\r\n")
            connection.send(b"0\r\n\r\n")
        except OSError:
            pass  # it has heard enough
        return connection.getresponse().status
    finally:
        connection.close()


def import_file(running, name, path, **more):
    create(running, name, **more)
    answer = upload(running, name, content(path))
    assert answer.status == 200 and answer.json["state"] == "succeeded", answer
    return running.local.get(f"/images/{name}")


def kept(running, image):
    return os.path.join(library(running), "library", image["id"] + ".qcow2")


def compare(running, image, raw):
    run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", kept(running, image), raw)
    info = json.loads(run("qemu-img", "info", "--output=json", "-f", "qcow2", kept(running, image)))
    assert "backing-filename" not in info and "snapshots" not in info
    run("qemu-img", "check", "-f", "qcow2", kept(running, image))


# ---- hostile images ----

def steps_of(operation):
    return {step["name"]: step for step in operation["steps"]}


def refusal(running, name, declared, path):
    """Uploads the file; answers the problem it is refused with and the operation, if it came to one."""
    body = {"format": declared} if declared else {}
    create(running, name, **body)
    answer = upload(running, name, content(path))
    if answer.status == 422:
        return answer.json, None
    assert answer.status == 200, (name, answer)
    assert answer.json["state"] == "failed", (name, answer)
    return answer.json["error"], answer.json


def test_hostile_images_are_refused_before_any_tool_runs(scratch):
    """qemu-img is a program that only fails: had it run for one of them, the refusal would be its failure."""
    canary = os.path.join(scratch, "canary")
    with open(canary, "w", encoding="ascii") as out:
        out.write(CANARY)
    cases = hostile_images.write(os.path.join(scratch, "hostile"), canary)
    assert len(cases) >= 60
    good = make_disk(scratch, 2 * MIB)
    with daemon(scratch, "--set", "images.qemu_img=/bin/false") as running:
        create(running, "good", format="raw")
        failed = upload(running, "good", content(good)).json
        assert "qemu-img ended with 1" in failed["error"]["detail"], failed
        for number, (case, declared, path) in enumerate(cases):
            problem, operation = refusal(running, f"hostile-{number}", declared, path)
            text = json.dumps([problem, operation, running.local.get(f"/images/hostile-{number}")])
            assert problem["status"] == 422 and problem["code"] == "unprocessable", (case, problem)
            assert "qemu-img" not in text, (case, text)
            assert CANARY not in text, case
            assert not operation or operation["progress"]["phase"] != "convert", case
        assert files(running) == [] or all(name.endswith(".upload") for name in files(running)), files(running)
        assert CANARY not in running.log()
        events = running.local.request("GET", "/events", headers={"Accept": "application/json"}).text
        assert CANARY not in events
        for name in files(running):
            assert CANARY.encode() not in content(os.path.join(library(running), name))


def test_library_links_and_pipes_are_not_followed(service, scratch):
    """What somebody puts in the place of a file of ours, at any moment, leads nowhere."""
    outside = os.path.join(scratch, "outside")
    with open(outside, "w", encoding="ascii") as out:
        out.write(CANARY)
    image = create(service, "victim", format="raw").json
    staged = os.path.join(library(service), "staging", image["id"] + ".upload")
    data = bytes(range(256)) * 4096
    for plant in (lambda: os.symlink(outside, staged), lambda: os.mkfifo(staged), lambda: os.link(outside, staged)):
        plant()
        answer = upload(service, "victim", data)
        assert answer.status >= 400, answer
        os.unlink(staged)
    stop = threading.Event()

    def swap():
        other = staged + ".other"
        while not stop.is_set():
            for make in (lambda: os.symlink(outside, other), lambda: open(other, "wb").close()):
                try:
                    make()
                    os.rename(other, staged)
                except OSError:
                    pass

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(40):
            upload(service, "victim", data[:70000], **{"Content-Range": "bytes 0-69999/1000000"})
    finally:
        stop.set()
        swapper.join()
    with open(outside, encoding="ascii") as stream:
        assert stream.read() == CANARY
    assert CANARY not in service.log()


# ---- imports ----

def test_every_format_is_imported_as_the_same_disk(service, scratch):
    raw = make_disk(scratch)
    work = os.path.join(scratch, "work")
    os.mkdir(work)
    made = {"raw": raw, "qcow2": convert(raw, "qcow2", work), "old": convert(raw, "qcow2", work, "-o", "compat=0.10"),
            "packed": convert(raw, "qcow2", work, "-c"), "zstd": convert(raw, "qcow2", work, "-c", "-o", "compression_type=zstd"),
            "extended": convert(raw, "qcow2", work, "-o", "extended_l2=on"),
            "vmdk": convert(raw, "vmdk", work), "stream": convert(raw, "vmdk", work, "-o", "subformat=streamOptimized"),
            "vdi": convert(raw, "vdi", work), "fixed": convert(raw, "vdi", work, "-o", "static=on"),
            "ova": make_ova(raw, work)}
    formats = {"old": "qcow2", "packed": "qcow2", "zstd": "qcow2", "extended": "qcow2", "stream": "vmdk", "fixed": "vdi"}
    for name, path in made.items():
        more = {"format": "raw"} if name == "raw" else {}
        image = import_file(service, "from-" + name, path, **more)
        assert image["state"] == "ready" and image["format"] == formats.get(name, name), image
        assert image["size_bytes"] == 16 * MIB
        assert image["sha256"] == hashlib.sha256(content(path)).hexdigest()
        assert image["file_bytes"] == os.path.getsize(kept(service, image))
        assert os.stat(kept(service, image)).st_mode & 0o777 == 0o600
        compare(service, image, raw)
    assert all(name.startswith("library/") for name in files(service))


def test_metadata_is_kept_changed_and_listed(service):
    api = service.local
    image = create(service, "debian", description="stable", labels={"team": "web"}, os={"name": "debian", "version": "12"},
                   architecture="aarch64", firmware="uefi", min_memory_bytes=256 * MIB, default_user="debian").json
    assert image["state"] == "uploading" and image["firmware"] == "uefi" and image["os"]["version"] == "12"
    changed = api.ok("PATCH", "/images/debian", {"description": "old stable", "os": {"version": "11"}}).json
    assert changed["description"] == "old stable" and changed["os"] == {"name": "debian", "version": "11"}
    assert changed["labels"] == {"team": "web"} and changed["version"] > image["version"]
    assert api.request("PATCH", "/images/debian", {"format": "raw"}).status == 400
    assert api.request("POST", "/images", {"name": "debian"}).status == 409
    assert [item["name"] for item in api.get("/images?filter=state%20eq%20uploading")["items"]] == ["debian"]
    api.act("DELETE", "/images/debian")
    assert api.request("GET", "/images/debian").status == 404


# ---- uploads ----

def digest_of(data):
    return "sha-256=:" + base64.b64encode(hashlib.sha256(data).digest()).decode() + ":"


def test_upload_goes_on_where_the_connection_broke(service, scratch):
    data = content(make_disk(scratch))
    create(service, "disk", format="raw")
    path = "/api/v1/images/disk/content"
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(service.socket)
        link.sendall(f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
                     f"Content-Length: {len(data)}\r\n\r\n".encode() + data[:5 * MIB])
        time.sleep(0.2)
    wait_until(lambda: service.local.get("/images/disk")["received_bytes"] > 0, 20, "the break was noticed")
    there = service.local.get("/images/disk")["received_bytes"]
    assert 0 < there <= 5 * MIB
    status, text = announce(service, "disk", len(data) - there - 1,
                            **{"Content-Range": f"bytes {there + 1}-{len(data) - 1}/{len(data)}"})
    assert status == 416 and f'"received_bytes":{there}' in text, text
    middle = (there + len(data)) // 2
    part = upload(service, "disk", data[there:middle], **{
        "Content-Range": f"bytes {there}-{middle - 1}/{len(data)}", "Content-Digest": digest_of(data[there:middle])})
    assert part.status == 200 and part.json["received_bytes"] == middle, part
    bad = upload(service, "disk", data[middle:-1] + b"!", **{
        "Content-Range": f"bytes {middle}-{len(data) - 1}/{len(data)}", "Content-Digest": digest_of(data[middle:])})
    assert bad.status == 422, bad
    assert service.local.get("/images/disk")["received_bytes"] == middle
    last = upload(service, "disk", data[middle:], **{"Content-Range": f"bytes {middle}-{len(data) - 1}/{len(data)}"})
    assert last.json["state"] == "succeeded", last
    image = service.local.get("/images/disk")
    assert image["sha256"] == hashlib.sha256(data).hexdigest() and image["state"] == "ready"
    assert announce(service, "disk", len(data))[0] == 409


def test_total_told_once_holds_for_the_parts_that_leave_it_out(service):
    data = os.urandom(300 * 1024)
    third = len(data) // 3
    create(service, "disk", format="raw")
    upload(service, "disk", data[:third], **{"Content-Range": f"bytes 0-{third - 1}/{len(data)}"})
    status, text = announce(service, "disk", len(data), **{"Content-Range": f"bytes {third}-{third + len(data) - 1}/*"})
    assert status == 416 and f'"total_bytes":{len(data)}' in text, text
    middle = {"Content-Range": f"bytes {third}-{2 * third - 1}/*"}
    bad = upload(service, "disk", data[third:2 * third], **middle, **{"Content-Digest": digest_of(b"")})
    assert bad.status == 422, bad
    assert service.local.get("/images/disk")["total_bytes"] == len(data)
    part = upload(service, "disk", data[third:2 * third], **middle)
    assert part.status == 200 and part.json["state"] == "uploading", part
    last = upload(service, "disk", data[2 * third:], **{"Content-Range": f"bytes {2 * third}-{len(data) - 1}/*"})
    assert last.json["state"] == "succeeded", last
    assert service.local.get("/images/disk")["sha256"] == hashlib.sha256(data).hexdigest()


def test_upload_survives_a_kill_of_the_daemon(service, scratch):
    data = content(make_disk(scratch))
    create(service, "disk", format="raw")
    half = len(data) // 2
    upload(service, "disk", data[:half], **{"Content-Range": f"bytes 0-{half - 1}/{len(data)}"})
    staged = os.path.join(library(service), "staging", service.local.get("/images/disk")["id"] + ".upload")
    service.kill()
    with open(staged, "ab") as out:
        out.write(b"bytes that were written but never recorded")
    service.start()
    assert service.local.get("/images/disk")["received_bytes"] == half
    answer = upload(service, "disk", data[half:], **{"Content-Range": f"bytes {half}-{len(data) - 1}/{len(data)}"})
    assert answer.json["state"] == "succeeded", answer
    assert service.local.get("/images/disk")["sha256"] == hashlib.sha256(data).hexdigest()


def test_limits_and_quota_hold_before_and_during_an_upload(scratch):
    with daemon(scratch, "--set", "images.max_bytes=4M", "--set", "images.quota_bytes=6M",
                "--set", "images.max_virtual_bytes=1G") as running:
        create(running, "large", format="raw")
        status, text = announce(running, "large", 5 * MIB)
        assert status == 413 and "4194304" in text, text
        assert announce(running, "large", 100, **{"Content-Range": f"bytes 0-99/{5 * MIB}"})[0] == 413
        assert announce(running, "large", 5 * MIB, **{"Content-Range": f"bytes 0-{5 * MIB - 1}/*"})[0] == 413
        assert chunked(running, "large", 5 * MIB) == 413
        assert running.local.get("/images/large")["received_bytes"] == 0
        assert sum(os.path.getsize(os.path.join(library(running), name)) for name in files(running)) == 0
        create(running, "own", format="raw", max_bytes=MIB)
        assert announce(running, "own", 2 * MIB)[0] == 413
        create(running, "first", format="raw")
        assert upload(running, "first", b"x" * 100, **{"Content-Range": f"bytes 0-99/{4 * MIB}"}).status == 200
        create(running, "second", format="raw")
        status, text = announce(running, "second", 4 * MIB)
        assert status == 429 and "quota" in text, text
        running.local.act("DELETE", "/images/first")
        create(running, "wide")
        wide = os.path.join(scratch, "wide.qcow2")
        run("qemu-img", "create", "-q", "-f", "qcow2", wide, "2G")
        answer = upload(running, "wide", content(wide))
        assert answer.status == 422 and "images.max_virtual_bytes" in answer.text, answer


def mounted(path, size):
    os.makedirs(path)
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", path)


def test_full_library_is_507_and_nothing_is_left(scratch):
    small = os.path.join(scratch, "small")
    mounted(small, 24 * MIB)
    try:
        with daemon(scratch, "--set", f"images.directory={small}/images") as running:
            create(running, "huge", format="raw")
            answer = upload(running, "huge", b"x", **{"Content-Range": f"bytes 0-0/{64 * MIB}"})
            assert answer.status == 507 and '"free_bytes"' in answer.text, answer
            full = os.urandom(16 * MIB)
            create(running, "tight", format="raw")
            answer = upload(running, "tight", full)
            assert answer.json["state"] == "failed" and answer.json["error"]["status"] == 507, answer
            found = [os.path.join(folder, name) for folder, _, names in os.walk(small) for name in names]
            assert [path for path in found if not path.endswith(".upload")] == [], found
            assert sum(os.path.getsize(path) for path in found) == 0, found
            assert running.local.get("/images/tight")["state"] == "failed"
    finally:
        run("umount", small)


# ---- fetching ----

class Source(http.server.BaseHTTPRequestHandler):
    """/disk: the file; /half: only half of it until the gate is open; /stall, /endless, /slow: never end;
    /loop: redirects for ever; /to/ADDRESS: redirects to /disk there; /via/ADDRESS/PATH: to /PATH there.
    """
    data = b""

    def do_GET(self):  # pylint: disable=invalid-name
        if self.path == "/disk":
            self.answer(200, self.data)
        elif self.path == "/half":
            self.answer_by_halves()
        elif self.path == "/loop":
            self.redirect("/loop")
        elif self.path.startswith("/to/"):
            self.redirect(f"http://{self.path[4:]}/disk")
        elif self.path.startswith("/via/"):
            self.redirect(f"http://{self.path[5:]}")
        elif self.path == "/file":
            self.redirect("file:///etc/passwd")
        elif self.path == "/stall":
            self.send_response(200)
            self.send_header("Content-Length", "100000000")
            self.end_headers()
            self.wfile.write(self.data[:1000])
            self.wfile.flush()
            self.server.stop.wait(30)
        elif self.path in ("/endless", "/slow"):
            self.send_response(200)
            self.end_headers()
            try:
                while not self.server.stop.wait(0.002 if self.path == "/slow" else 0):
                    self.wfile.write(bytes(65536))
            except OSError:
                pass
        else:
            self.answer(404, b"")

    def answer_by_halves(self):
        middle = len(self.data) // 2
        if self.server.data_is_gone:
            self.answer(404, b"")
            return
        self.answer(200, self.data[:middle], len(self.data))
        self.wfile.flush()
        self.server.gate.wait(30)
        try:
            self.wfile.write(self.data[middle:])
        except OSError:
            pass  # who asked for it is gone

    def answer(self, status, data, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def redirect(self, target):
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


@contextlib.contextmanager
def serving(server):
    """Answers until the end of the block."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def source(scratch):
    raw = make_disk(scratch)
    path = os.path.join(scratch, "source.qcow2")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path)
    Source.data = content(path)
    server = Server(("127.0.0.1", 0), Source)
    server.stop = threading.Event()
    server.gate = threading.Event()
    server.data_is_gone = False
    server.raw = raw
    with serving(server):
        yield server


def fetch(running, name, url, **more):
    answer = running.local.ok("POST", "/images?wait=60", {"name": name, "url": url, **more})
    return answer.json


def test_image_is_fetched_and_its_digest_checked(scratch, source):
    url = f"http://127.0.0.1:{source.server_port}"
    right = "sha256:" + hashlib.sha256(Source.data).hexdigest()
    with daemon(scratch, "--set", "images.allow_private_networks=true", "--set", "images.stall_timeout=1s",
                "--set", "images.max_bytes=32M") as running:
        assert fetch(running, "good", url + "/disk", digest=right)["state"] == "succeeded"
        image = running.local.get("/images/good")
        assert image["warnings"] == [] and image["state"] == "ready"
        compare(running, image, source.raw)
        assert fetch(running, "unchecked", url + "/disk")["state"] == "succeeded"
        assert "without a digest" in running.local.get("/images/unchecked")["warnings"][0]
        refusals = {"wrong": ("/disk", {"digest": "sha256:" + "0" * 64}, 422, "sha256:"),
                    "small": ("/disk", {"max_bytes": 1000}, 413, "1000"), "loop": ("/loop", {}, 422, "redirected"),
                    "file": ("/file", {}, 422, "rotocol"), "none": ("/nothing", {}, 422, "404"),
                    "stall": ("/stall", {"max_bytes": 200000000}, 413, ""), "endless": ("/endless", {}, 413, "33554432")}
        for name, (path, more, status, word) in refusals.items():
            ended = fetch(running, name, url + path, **more)
            assert ended["state"] == "failed" and ended["error"]["status"] == status, (name, ended)
            assert word in json.dumps(ended["error"]), (name, ended)
            assert running.local.get(f"/images/{name}")["state"] == "failed"
        assert all(name.startswith("library/") for name in files(running)), files(running)


def send_chunks(running, name, n):
    """An upload that does not tell its length: so many MiB and no end. Answers its connection."""
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(60)
    link.connect(running.socket)
    link.sendall(f"PUT /api/v1/images/{name}/content HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n".encode())
    try:
        for _ in range(n):
            link.sendall(f"{MIB:x}\r\n".encode() + bytes(MIB) + b"\r\n")
    except OSError:
        pass  # refused in the middle
    return link


def test_streams_of_unknown_length_do_not_overshoot_the_quota_together(scratch, source):
    """Each fits the quota alone. What lies in the library is looked at all the time."""
    quota = 64 * MIB
    url = f"http://127.0.0.1:{source.server_port}"
    most = [0]
    stop = threading.Event()

    def measure(running):
        while not stop.is_set():
            total = 0
            for name in files(running):
                try:
                    total += os.path.getsize(os.path.join(library(running), name))
                except OSError:
                    pass
            most[0] = max(most[0], total)
            stop.wait(0.002)

    with daemon(scratch, "--set", "images.allow_private_networks=true", "--set", "images.max_bytes=60M",
                "--set", f"images.quota_bytes={quota}") as running:
        watcher = threading.Thread(target=measure, args=(running,))
        watcher.start()
        try:
            operations = [running.local.ok("POST", "/images", {"name": f"url-{i}", "url": url + "/slow"}).json
                          for i in range(2)]
            for i in range(2):
                create(running, f"up-{i}", format="raw")
            links = [send_chunks(running, f"up-{i}", 40) for i in range(2)]
            ended = [running.local.operation(operation["id"], wait=60) for operation in operations]
            for link in links:
                link.close()
        finally:
            stop.set()
            watcher.join()
        statuses = sorted(operation["error"]["status"] for operation in ended)
        assert 429 in statuses and "quota" in json.dumps([operation["error"] for operation in ended]), ended
        assert 32 * MIB < most[0] <= quota, most[0]
        wait_until(lambda: all(running.local.get(f"/images/up-{i}")["received_bytes"] < quota for i in range(2)), 10, "ends")
        create(running, "late", format="raw")  # what failed holds no room
        for i in range(2):
            running.local.act("DELETE", f"/images/up-{i}")
        assert upload(running, "late", b"x" * 100, **{"Content-Range": f"bytes 0-99/{60 * MIB}"}).status == 200


def test_stalled_source_is_given_up_and_a_fetch_can_be_cancelled(scratch, source):
    url = f"http://127.0.0.1:{source.server_port}/stall"
    with daemon(scratch, "--set", "images.allow_private_networks=true", "--set", "images.stall_timeout=2s") as running:
        ended = fetch(running, "stall", url)
        assert ended["state"] == "failed" and ended["error"]["status"] == 504, ended
    with daemon(scratch, "--set", "images.allow_private_networks=true") as running:
        operation = running.local.ok("POST", "/images", {"name": "cancelled", "url": url}).json
        wait_until(lambda: any(name.endswith(".upload") for name in files(running)), 20, "it began")
        running.local.ok("DELETE", f"/operations/{operation['id']}")
        ended = running.local.operation(operation["id"], wait=20)
        assert ended["state"] == "cancelled", ended
        assert files(running) == []
        running.local.act("DELETE", "/images/cancelled")


def test_private_addresses_are_not_fetched_from(scratch, source):
    port = source.server_port
    with daemon(scratch) as running:
        for number, host in enumerate((f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "10.0.0.1", "192.168.0.1",
                                       "169.254.169.254", "[::ffff:127.0.0.1]:" + str(port), "0.0.0.0", "[fe80::1]",
                                       f"2130706433:{port}", f"0x7f.1:{port}")):
            ended = fetch(running, f"private-{number}", f"http://{host}/disk")
            assert ended["state"] == "failed" and ended["error"]["status"] == 422, (host, ended)
            assert "public address" in ended["error"]["detail"], (host, ended)
        for url in ("ftp://example.com/x", "file:///etc/passwd", "http://user:secret@example.com/x", "http://", "nonsense"):
            answer = running.local.request("POST", "/images", {"name": "bad", "url": url})
            assert answer.status == 400 and "/url" in answer.text, (url, answer)
    with daemon(scratch, "--set", "images.require_digest=true") as running:
        answer = running.local.request("POST", "/images", {"name": "bad", "url": "https://example.com/x"})
        assert answer.status == 400 and "/digest" in answer.text, answer


# ---- crashes ----

def by_upload(running, source):
    create(running, "disk", format="raw")
    upload(running, "disk", content(source.raw), wait=0)


def by_url(running, source):
    running.local.request("POST", "/images", {"name": "disk", "url": f"http://127.0.0.1:{source.server_port}/disk"})


@pytest.mark.parametrize("bring", [by_upload, pytest.param(by_url, marks=pytest.mark.long)])
@pytest.mark.parametrize("step", step_names("image.import"))
def test_kill_at_each_step_of_an_import_ends_whole(scratch, source, step, bring):
    for moment in MOMENTS:
        directory = os.path.join(scratch, moment)
        running = daemon(directory, "--set", "images.allow_private_networks=true")
        running.start(fault=f"image.import/{step}:{moment}")
        try:
            bring(running, source)
        except (OSError, http.client.HTTPException):
            pass
        running.process.wait(30)
        running.start()
        wait_until(lambda: running.local.get("/images/disk")["state"] != "importing", 30, "the import ended")
        check_imported(running, source)
        running.stop()


def check_imported(running, source):
    image = running.local.get("/images/disk")
    assert image["state"] == "ready", image
    compare(running, image, source.raw)
    assert files(running) == [f"library/{image['id']}.qcow2"]


@pytest.mark.parametrize("is_gone", [False, True])
def test_kill_while_an_image_is_fetched_it_is_fetched_anew_or_given_up(scratch, source, is_gone):
    running = daemon(scratch, "--set", "images.allow_private_networks=true").start()
    body = {"name": "disk", "url": f"http://127.0.0.1:{source.server_port}/half",
            "digest": "sha256:" + hashlib.sha256(Source.data).hexdigest()}
    operation = running.local.ok("POST", "/images", body).json
    wait_until(lambda: [os.path.getsize(os.path.join(library(running), name)) for name in files(running)]
               == [len(Source.data) // 2], 20, "half of it is there")
    running.kill()
    source.data_is_gone = is_gone
    source.gate.set()
    running.start()
    ended = running.local.operation(operation["id"], wait=60)
    if is_gone:
        assert ended["state"] == "failed" and "404" in ended["error"]["detail"], ended
        assert running.local.get("/images/disk")["state"] == "failed" and files(running) == []
    else:
        assert ended["state"] == "succeeded", ended
        check_imported(running, source)
    running.stop()


def test_kill_in_the_undo_of_an_import_leaves_nothing(scratch):
    running = daemon(scratch)
    running.start(fault="image.import/fetch:undo")
    create(running, "bad", format="raw", digest="sha256:" + "0" * 64)
    try:
        upload(running, "bad", bytes(MIB), wait=0)
    except OSError:
        pass
    running.process.wait(30)
    running.start()
    wait_until(lambda: running.local.get("/images/bad")["state"] == "failed", 30, "it was undone")
    assert files(running) == []
    running.local.act("DELETE", "/images/bad")
    running.stop()


# ---- copies in pools, on real libvirt ----

def pool_files(virt):
    """Sizes by name of what lies in the pool."""
    directory = os.path.join(virt.images_dir, "pool")
    return {name: os.path.getsize(os.path.join(directory, name)) for name in os.listdir(directory)}


def vm_from(name, image):
    return {"name": name, "memory": {"size_bytes": 128 * MIB}, "disks": {"root": {"image": image}}}


def test_vms_share_one_copy_that_is_the_librarys_file(real, virt, scratch):
    raw = make_disk(scratch)
    api = real.local
    image = import_file(real, "base", raw, format="raw")
    answers = [api.ok("POST", "/vms", vm_from(f"vm{i}", "base")) for i in range(3)]
    for answer in answers:
        ended = api.operation(answer.json["id"])
        assert ended["state"] == "succeeded", ended
    copies = [item for item in api.get("/operations?page_size=100")["items"] if item["kind"] == "image.copy"]
    assert len(copies) == 1, copies
    found = pool_files(virt)
    assert len(found) == 4, found  # one copy, three overlays
    directory = os.path.join(virt.images_dir, "pool")
    expected = hashlib.sha256(content(kept(real, image))).hexdigest()
    same = [name for name in found if hashlib.sha256(content(os.path.join(directory, name))).hexdigest() == expected]
    assert len(same) == 1, found
    run("qemu-img", "check", "-f", "qcow2", os.path.join(directory, same[0]))
    answer = api.request("DELETE", "/images/base")
    assert answer.status == 409 and "root" in answer.text, answer
    for i in range(3):
        api.act("DELETE", f"/vms/vm{i}?delete_disks=true")
    api.act("DELETE", "/images/base")
    assert pool_files(virt) == {} and files(real) == []


@pytest.mark.parametrize("step", step_names("image.copy"))
def test_kill_at_each_step_of_a_copy_ends_whole(virt, scratch, step):
    from conftest import daemon_for  # pylint: disable=import-outside-toplevel
    raw = make_disk(scratch, 4 * MIB)
    with daemon_for([virt], scratch) as running:
        add_host(running.local, "h1", virt.uri)
        import_file(running, "base", raw, format="raw")
        for number, moment in enumerate(MOMENTS):
            running.stop()
            start_with_host(running, f"image.copy/{step}:{moment}")
            try:
                running.local.ok("POST", "/vms", vm_from(f"vm{number}", "base"))
            except OSError:
                pass
            running.process.wait(60)
            running.start()
            wait_until(lambda: not [item for item in running.local.get("/operations?page_size=100")["items"]
                                    if item["state"] in ("queued", "running")], 90, "all has ended")
            vm = running.local.get(f"/vms/vm{number}")
            assert vm["disks"]["root"]["volume"], vm
            directory = os.path.join(virt.images_dir, "pool")
            assert len(pool_files(virt)) == 2, pool_files(virt)
            for name in pool_files(virt):
                run("qemu-img", "check", "-f", "qcow2", os.path.join(directory, name))
            running.local.act("DELETE", f"/vms/vm{number}?delete_disks=true")
            running.local.act("DELETE", "/images/base")
            assert pool_files(virt) == {}
            if number == 0:
                import_file(running, "base", raw, format="raw")
