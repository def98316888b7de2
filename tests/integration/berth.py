# SPDX-License-Identifier: Apache-2.0
"""berthd as a black box: starts it on a state directory of its own and talks HTTP to it."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("BERTHD", os.path.join(ROOT, "build/asan/berthd"))
API = "/api/v1"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = body.decode(errors="replace")
        is_json = "json" in self.headers.get("content-type", "")
        self.json = json.loads(self.text) if is_json and self.text else None

    def __repr__(self):
        return f"<{self.status} {self.text[:600]}>"


class ApiError(AssertionError):
    def __init__(self, method, path, answer):
        super().__init__(f"{method} {path}: {answer!r}")
        self.answer = answer


class Client:
    """One caller. Opens a connection per request: what vanishes with a killed daemon is never reused."""

    def __init__(self, connect, token=None):
        self.connect = connect
        self.token = token

    def request(self, method, path, body=None, headers=None, raw=None, timeout=150):
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        data = raw
        if body is not None:
            data = json.dumps(body)
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            headers.setdefault("Content-Type", kind)
        connection = self.connect(timeout)
        try:
            connection.request(method, path[1:] if path.startswith("!") else API + path, data, headers)
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            connection.close()

    def ok(self, method, path, body=None, **more):
        answer = self.request(method, path, body, **more)
        if answer.status >= 300:
            raise ApiError(method, path, answer)
        return answer

    def get(self, path, **more):
        return self.ok("GET", path, **more).json

    def act(self, method, path, body=None, wait=120, **more):
        """A mutation, waited for: its operation must succeed. Answers the operation (or the resource)."""
        joint = "&" if "?" in path else "?"
        answer = self.ok(method, f"{path}{joint}wait={wait}", body, timeout=wait + 30, **more).json
        if isinstance(answer, dict) and "progress" in answer and answer["state"] != "succeeded":
            raise AssertionError(f"{method} {path}: {json.dumps(answer)}")
        return answer

    def operation(self, operation_id, wait=120):
        return self.get(f"/operations/{operation_id}?wait={wait}", timeout=wait + 30)


class Berthd:
    """The daemon. stop() checks that it ends by itself and that no sanitizer complained.

    before: words of a command that becomes the daemon, such as nsenter's.
    """

    def __init__(self, directory, *arguments, binary=BINARY, before=()):
        self.directory = str(directory)
        self.state_dir = os.path.join(self.directory, "state")
        self.socket = os.path.join(self.directory, "api.sock")
        self.log_path = os.path.join(self.directory, "berthd.log")
        self.arguments = list(arguments)
        self.binary = binary
        self.before = before
        self.process = None
        self.port = None

    def start(self, *more, deadline=30, fault=None):
        """`fault`: where it kills itself, as BERTH_FAULT has it."""
        os.makedirs(self.directory, exist_ok=True)
        started = time.monotonic()
        offset = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0",
                           LSAN_OPTIONS=f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0",
                           UBSAN_OPTIONS="print_stacktrace=1", **({"BERTH_FAULT": fault} if fault else {}))
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.before, self.binary, "--config", "/dev/null", "--state-dir", self.state_dir, "--socket", self.socket,
                 "--listen", "127.0.0.1:0", "--set", "log_level=debug", *self.arguments, *more],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"berthd ended with {self.process.returncode}: {self.log()[-3000:]}")
            try:
                if self.local.request("GET", "!/readyz", timeout=5).status == 200:
                    break
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() - started > deadline:
                raise AssertionError(f"not ready within {deadline} s: {self.log()[-3000:]}")
            time.sleep(0.005)
        self.ready_seconds = time.monotonic() - started
        port = re.search(r"\(port (\d+)\)", self.log()[offset:])
        deadline_at = time.monotonic() + 5
        while not port and time.monotonic() < deadline_at:
            time.sleep(0.01)
            port = re.search(r"\(port (\d+)\)", self.log()[offset:])
        self.port = int(port.group(1))
        return self

    @property
    def local(self):
        """root on the unix socket."""
        return Client(lambda timeout: UnixConnection(self.socket, timeout))

    def tcp(self, token=None):
        return Client(lambda timeout: http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout), token)

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, deadline=30):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"berthd did not stop within {deadline} s: {self.log()[-2000:]}") from None
        log = self.log()
        assert "AddressSanitizer" not in log and "runtime error:" not in log, log[-6000:]
        assert code == 0, f"berthd ended with {code}: {log[-3000:]}"

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
            return
        print(f"berthd's status: {self.process.poll() if self.process else None}")
        lines = [line for line in self.log().split("\n") if 'msg="GET' not in line]
        print("\n".join(lines[-80:]))
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def quote(text):
    return urllib.parse.quote(text, safe="")


class RawConnection:
    """A socket of one's own, for requests that no client library would send."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def receive(self):
        """Everything until the other side closes."""
        data = b""
        while True:
            try:
                chunk = self.sock.recv(65536)
            except (ConnectionResetError, TimeoutError):
                return data
            if not chunk:
                return data
            data += chunk

    def close(self):
        self.sock.close()
