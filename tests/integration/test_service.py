# SPDX-License-Identifier: Apache-2.0
"""The daemon as a service: events, metrics, reload, TLS, one at a time, refusals at start."""
import json
import os
import signal
import ssl
import subprocess

import pytest

from berth import BINARY, ROOT, Berthd
from conftest import add_host, small_vm
from lab import wait_until


def run(*arguments):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_events_are_replayed_in_order_and_resumed(fake):
    api = fake.local
    api.act("POST", "/vms", small_vm("a", desired_power="running"))
    items = api.get("/events?after=0&page_size=1000", headers={"Accept": "application/json"})["items"]
    numbers = [e["seq"] if "seq" in e else int(e["id"]) for e in items]
    assert numbers == sorted(numbers) and len(set(numbers)) == len(numbers)
    kinds = {(e["kind"], e["event"]) for e in items}
    assert {("vm", "created"), ("vm", "power"), ("operation", "created"), ("operation", "ended")} <= kinds, kinds
    later = api.get(f"/events?after={numbers[3]}&page_size=1000", headers={"Accept": "application/json"})["items"]
    assert later == items[4:]


def test_metrics_name_hosts_and_vms(fake):
    fake.local.act("POST", "/vms", small_vm("a", desired_power="running"))
    text = fake.local.request("GET", "!/metrics").text
    assert 'berth_hosts{state="ok"} 1' in text and 'berth_vms{power="running"} 1' in text, text


def test_a_second_daemon_on_the_same_directory_is_refused(fake):
    code, _, complaint = run("--config", "/dev/null", "--state-dir", fake.state_dir, "--listen", "none")
    assert code != 0 and "another berthd" in complaint, complaint


def test_beyond_loopback_needs_tls(scratch):
    code, _, complaint = run("--config", "/dev/null", "--state-dir", os.path.join(scratch, "s"), "--listen",
                             "0.0.0.0:0", "--no-local-host")
    assert code != 0 and "TLS" in complaint, complaint


@pytest.mark.parametrize("text,says", [
    ("colour = blue\n", "colour"), ("[api]\nlisten = x\nlisten = y\n", "listen"), ("log_level = loud\n", "log_level"),
    ("[api]\nmax_connections = 0\n", "max_connections"), ("state_dir = relative\n", "state_dir")])
def test_a_bad_configuration_is_refused_with_its_line(scratch, text, says):
    path = os.path.join(scratch, "berth.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    code, _, complaint = run("--config", path, "--check-config")
    assert code != 0 and says in complaint and "berth.conf" in complaint, complaint


def test_the_example_configuration_is_fine_and_version_is_told(scratch):
    path = os.path.join(scratch, "berth.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(run("--print-config")[1])
    assert run("--config", path, "--check-config")[0] == 0
    with open(os.path.join(ROOT, "VERSION"), encoding="utf-8") as version:
        assert run("--version")[1].strip() == f"berthd {version.read().strip()}"


def test_reload_takes_good_configuration_and_keeps_the_old_one_otherwise(scratch):
    path = os.path.join(scratch, "berth.conf")

    def write(text):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    write("log_level = info\n")
    with Berthd(scratch, "--no-local-host", "--config", path) as daemon:
        write("log_level = nonsense\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the old one stays" in daemon.log(), 20, "a bad configuration is refused")
        write("[api]\nmax_connections = 7\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "api.max_connections takes a restart" in daemon.log(), 20, "what needs a restart is named")
        assert daemon.local.request("GET", "!/readyz").status == 200


def make_certificate(directory, name):
    certificate, key = os.path.join(directory, f"{name}.pem"), os.path.join(directory, f"{name}.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", f"/CN={name}", "-days", "2", "-keyout", key, "-out", certificate], check=True,
                   capture_output=True)
    return certificate, key


def test_tls_certificate_is_reloaded(scratch):
    certificate, key = make_certificate(scratch, "one")
    with Berthd(scratch, "--no-local-host", "--set", f"api.tls_certificate={certificate}", "--set",
                f"api.tls_key={key}") as daemon:
        def seen():
            return ssl.get_server_certificate(("127.0.0.1", daemon.port))
        first = seen()
        other, other_key = make_certificate(scratch, "two")
        os.replace(other_key, key)
        os.replace(other, certificate)
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: seen() != first, 20, "the new certificate is served")


def call_is_under_way(api, since):
    stats = api.get("/hosts/h1/stats")
    return stats["at"] and stats["at"] != since and stats["calls_in_flight"]


def test_graceful_stop_lets_work_end_and_reads_go_on(scratch):
    with Berthd(scratch, "--no-local-host", "--set", "hosts.allow_fake=true") as daemon:
        api = daemon.local
        add_host(api, "h1", f"fake:///{os.path.basename(scratch)}?delay_ms=1500")
        accepted = api.ok("POST", "/vms", small_vm("a", disks={"d": {"size_bytes": 1 << 20}})).json
        wait_until(lambda: api.get(f"/operations/{accepted['id']}")["state"] == "running", 20, "it runs")
        # Recorded as running, its step may not have begun: only a call that a later look still counts is one of its own.
        seen = api.get("/hosts/h1/stats")["at"]
        wait_until(lambda: call_is_under_way(api, seen), 20, "a step is under way")
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "no new work is taken" in daemon.log(), 10, "it drains")
        refused = api.request("POST", "/vms", small_vm("b"))
        assert refused.status == 503 and refused.headers["retry-after"], refused
        assert api.request("GET", "/vms/a").status == 200
        daemon.process.wait(30)
        daemon.start()
        add = wait_until(lambda: daemon.local.get(f"/operations/{accepted['id']}")["ended_at"], 60, "it goes on")
        assert add


def test_openapi_is_served_as_committed(fake):
    served = fake.local.get("/openapi.json")
    with open(os.path.join(ROOT, "docs/openapi.json"), encoding="utf-8") as committed:
        assert served == json.load(committed)
    assert served["openapi"].startswith("3.1") and "/vms/{vm}/start" in str(served["paths"])
