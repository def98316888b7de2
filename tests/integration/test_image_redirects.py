# SPDX-License-Identifier: Apache-2.0
"""Redirects of images' servers: followed to public addresses alone, in a network of our own that has some."""
import concurrent.futures
import ctypes
import os
import threading

import pytest

from berth import Berthd
from lab import Namespace
from test_images import Server, Source, compare, convert, content, fetch, files, make_disk, serving

CLONE_NEWNET = 0x40000000
FIRST, SECOND, PRIVATE = "11.0.0.1", "11.0.0.2", "10.0.0.1"


class SeenSource(Source):
    """Notes under which address it was asked for what."""

    def do_GET(self):
        self.server.seen.append((self.connection.getsockname()[0], self.path))
        super().do_GET()


@pytest.fixture(name="network")
def fixture_network():
    namespace = Namespace("net")
    namespace.start()
    try:
        for address in (FIRST, SECOND, PRIVATE):
            namespace.shell(f"ip address add {address}/32 dev lo")
        yield namespace
    finally:
        namespace.stop()


def serve_in(namespace):
    """A server whose socket was made by a thread inside; answers from outside all the same."""
    def make():
        with open(f"/proc/{namespace.pid}/ns/net", "rb") as net:
            if ctypes.CDLL(None, use_errno=True).setns(net.fileno(), CLONE_NEWNET) < 0:
                raise OSError(ctypes.get_errno(), "setns")
        return Server(("0.0.0.0", 0), SeenSource)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(make).result(10)


@pytest.fixture(name="source")
def fixture_source(scratch, network):
    server = serve_in(network)
    server.stop, server.seen, server.raw = threading.Event(), [], make_disk(scratch)
    work = os.path.join(scratch, "work")
    os.mkdir(work)
    Source.data = content(convert(server.raw, "qcow2", work))
    with serving(server):
        yield server


def test_a_redirect_is_followed_to_a_public_address_and_never_to_another(scratch, network, source):
    port = source.server_port
    enter = ("nsenter", f"--net=/proc/{network.pid}/ns/net", "--")
    with Berthd(scratch, "--no-local-host", before=enter) as running:
        done = fetch(running, "public", f"http://{FIRST}:{port}/to/{SECOND}:{port}")
        assert done["state"] == "succeeded", done
        compare(running, running.local.get("/images/public"), source.raw)
        assert source.seen == [(FIRST, f"/to/{SECOND}:{port}"), (SECOND, "/disk")]
        kept = files(running)
        for number, host in enumerate((PRIVATE, "127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254",
                                       "2130706433")):
            source.seen.clear()
            target = f"/to/{host}:{port}"
            ended = fetch(running, f"private-{number}", f"http://{FIRST}:{port}{target}")
            assert ended["state"] == "failed" and ended["error"]["status"] == 422, (host, ended)
            assert "public address" in ended["error"]["detail"], (host, ended)
            assert source.seen == [(FIRST, target)], host
        # the second hop is as good as the first, the third is not
        source.seen.clear()
        ended = fetch(running, "long", f"http://{FIRST}:{port}/via/{SECOND}:{port}/to/{PRIVATE}:{port}")
        assert ended["state"] == "failed" and PRIVATE in ended["error"]["detail"], ended
        assert [address for address, _ in source.seen] == [FIRST, SECOND]
        assert files(running) == kept
