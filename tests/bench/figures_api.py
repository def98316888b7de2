# SPDX-License-Identifier: Apache-2.0
"""What the API costs on hosts in memory: reads, lists, creation, the start."""
import http.client
import json
import os
import re
import subprocess
import time

from measure import (HERE, MIB, PROGRAMS, Daemon, Program, add_host, best, cpu_seconds, in_threads, key_values, median,
                     wait_idle, wait_until, wrk)

ROUNDS = 3
CREATE = os.path.join(HERE, "create.lua")
BIG_HOST = "cpus=64&memory_mib=1048576"


def vm_body(name):
    return {"name": name, "memory": {"size_bytes": 128 * MIB}, "disks": {"root": {"size_bytes": 1024 * MIB}},
            "nics": {"lan": {}}}


def fill(daemon, first, count, clients=8):
    """VMs `first` .. `first + count - 1` through the API; waits until their operations have ended."""
    def create(client):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
        headers = {"Authorization": f"Bearer {daemon.token}", "Content-Type": "application/json"}
        for i in range(first + client, first + count, clients):
            connection.request("POST", "/api/v1/vms", json.dumps(vm_body(f"vm-{i:05}")), headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 202, text
        connection.close()

    in_threads(clients, create)
    wait_operations(daemon)


def metric(daemon, name):
    text = daemon.local.ok("GET", "!/metrics").text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+-]+)$", text, re.M))


def wait_operations(daemon):
    wait_until(lambda: metric(daemon, "berth_operations") == 0, 120, "all operations have ended")


def bench_reads(report, scratch):
    """GET one and lists, 1,000 VMs, beside libmicrohttpd alone and beside SQLite with a direct writer."""
    directory = os.path.join(scratch, "reads")
    with Daemon(directory) as daemon:
        add_host(daemon.local, "h1", f"fake:///reads?{BIG_HOST}")
        fill(daemon, 0, 1000)
        wait_idle(daemon.pid)
        bench_get(report, daemon)
        lists = measure_lists(daemon)
    database = os.path.join(daemon.state_dir, "berth.db")
    for rows, measured in lists.items():
        report_list(report, database, rows, *measured)


def bench_get(report, daemon):
    path = daemon.url("/vms/vm-00500")
    ours, bare, alone, bare_alone = [], [], [], []
    for _ in range(ROUNDS):
        with Program("bench_http_floor") as floor:
            url = f"http://127.0.0.1:{floor.first_line}/"
            bare.append(wrk(url, floor.pid, token=daemon.token))
            bare_alone.append(wrk(url, floor.pid, token=daemon.token, connections=1, seconds=1))
        ours.append(wrk(path, daemon.pid, token=daemon.token))
        alone.append(wrk(path, daemon.pid, token=daemon.token, connections=1, seconds=1))
    ours, bare = best(ours), best(bare)
    report.line("GET one VM, requests/s", ours.rate, "/s", floor=bare.rate, digits=0,
                aim=lambda value, floor: value >= 0.5 * floor, aim_text=">= 0.5 of bare libmicrohttpd")
    report.line("GET one VM, CPU", ours.cpu_us, "us", floor=bare.cpu_us,
                aim=lambda value, _: value <= 22, aim_text="<= 22 us")
    report.line("GET one VM, p50 of one client", best(alone).p50_ms * 1e3, "us", floor=best(bare_alone).p50_ms * 1e3,
                digits=0, aim=lambda value, _: value < 1000, aim_text="< 1 ms")


def least(loads):
    """The p99 of the round that was disturbed least, in microseconds."""
    return min(load.p99_ms for load in loads) * 1e3


def measure_lists(daemon):
    """{rows: (many clients, one client, both again with the same bytes by libmicrohttpd alone, the answer's text)}"""
    lists = {}
    for rows in (100, 1000):
        path = f"/vms?page_size={rows}"
        answer = daemon.local.ok("GET", path).text
        loads, alone, http, http_alone = [], [], [], []
        for _ in range(ROUNDS):
            with Program("bench_http_floor", len(answer)) as floor:
                url = f"http://127.0.0.1:{floor.first_line}/"
                http.append(wrk(url, floor.pid, connections=4, seconds=1, token=daemon.token))
                http_alone.append(wrk(url, floor.pid, connections=1, seconds=1, token=daemon.token))
            loads.append(wrk(daemon.url(path), daemon.pid, connections=4, seconds=1, token=daemon.token))
            alone.append(wrk(daemon.url(path), daemon.pid, connections=1, seconds=1, token=daemon.token))
        lists[rows] = best(loads), alone, best(http), http_alone, answer
    return lists


def report_list(report, database, rows, load, alone, http, http_alone, answer):  # pylint: disable=too-many-arguments
    check_page(database, rows, answer)
    page_us = min(key_values("bench_list_floor", database, rows)["page_us"] for _ in range(ROUNDS))
    if rows == 1000:
        report.line("list of 1,000, CPU", load.cpu_us / 1e3, "ms", floor=(page_us + http.cpu_us) / 1e3, digits=2,
                    aim=lambda value, _: value <= 2, aim_text="<= 2 ms")
        return
    report.line(f"list page of {rows}, CPU without HTTP", load.cpu_us - http.cpu_us, "us", floor=page_us,
                aim=lambda value, floor: value <= 2 * floor, aim_text="<= 2 x SQLite and a direct writer")
    report.line(f"list page of {rows}, p99 of one client", least(alone) / 1e3, "ms", floor=least(http_alone) / 1e3, digits=2,
                aim=lambda value, _: value < 5, aim_text="< 5 ms")


def check_page(database, rows, answer):
    """The floor must have written what the API answered."""
    page = subprocess.run([os.path.join(PROGRAMS, "bench_list_floor"), database, str(rows), "print"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    assert answer.startswith(page), f"the floor's page differs:\n{page[:600]}\n{answer[:600]}"


def bench_create(report, scratch):
    """Durable creation, alone and by 32 clients at once, beside a bare commit in the same directory."""
    directory = os.path.join(scratch, "create")
    os.makedirs(directory)
    runs = [key_values("bench_db", directory) for _ in range(ROUNDS)]
    bare = min(runs, key=lambda run: run["bare_commit_p50_us"])  # a disturbed floor would flatter
    with Daemon(directory) as daemon:
        add_host(daemon.local, "h1", f"fake:///create?{BIG_HOST}")
        report_create(report, daemon, bare)
        report_create_request(report, daemon, bare)
        daemon.kill()  # thousands of operations wait for the slow host
    report_db(report, bare)


def create_load(daemon, prefix, connections, host="h1", query=""):
    os.environ.update(BENCH_PREFIX=prefix, BENCH_HOST=host, BENCH_TOKEN=daemon.token)
    return wrk(daemon.url(f"/vms{query}"), daemon.pid, connections=connections, seconds=3, script=CREATE)


def creations(daemon, prefix, connections):
    """The load, and of all until the operations have ended: CPU time of each, jobs per transaction."""
    names = ("berth_db_jobs_total", "berth_db_transactions_total")
    before = [metric(daemon, name) for name in names]
    cpu = cpu_seconds(daemon.pid)
    load = create_load(daemon, prefix, connections)
    jobs, transactions = (metric(daemon, name) - at for name, at in zip(names, before))
    wait_operations(daemon)
    return load, (cpu_seconds(daemon.pid) - cpu) * 1e6 / load.requests, jobs / transactions


def report_create(report, daemon, bare):
    load, whole_us, _ = creations(daemon, "one", 1)
    report.line("durable create, p50", load.p50_ms * 1e3, "us", floor=bare["bare_commit_p50_us"], digits=0,
                aim=lambda value, floor: value <= 3 * floor, aim_text="<= 3 x bare WAL+FULL commit")
    report.line("create and its operation on a fake host, CPU", whole_us, "us", digits=0)
    load, _, per_transaction = creations(daemon, "many", 32)
    report.line("32 writers: creates/s", load.rate, "/s", floor=1e6 / bare["bare_commit_p50_us"], digits=0)
    report.line("32 writers: jobs per transaction", per_transaction, "", aim=lambda value, _: value >= 4,
                aim_text="group commit visible: >= 4")


def report_create_request(report, daemon, bare):
    """The request without its operation: the host is so slow that hardly any of them moves meanwhile."""
    add_host(daemon.local, "slow", f"fake:///slow?delay_ms=400&{BIG_HOST}")
    load = create_load(daemon, "dry", 1, "slow", "?dry_run=true")
    report.line("create without its commit (dry run), p50", load.p50_ms * 1e3, "us", digits=0,
                aim=lambda value, _: value < 2000, aim_text="< 2 ms of our own")
    report.line("create without its commit (dry run), CPU", load.cpu_us, "us", digits=0)
    load = create_load(daemon, "slow", 1, "slow")
    report.line("durable create, CPU of the request", load.cpu_us, "us", floor=bare["cpu_per_job_us"], digits=0,
                aim=lambda value, _: value <= 200, aim_text="<= 200 us")


def report_db(report, bare):
    report.line("db: job of one writer, p50", bare["job_1_submitter_p50_us"], "us", floor=bare["bare_commit_p50_us"])
    report.line("db: job of 32 writers, time each", bare["job_32_submitters_us_per_job"], "us",
                floor=bare["bare_commit_p50_us"])
    report.line("db: select one row", bare["select_one_us"], "us", floor=bare["bare_select_one_us"], digits=2)
    report.line("db: select a page of 100", bare["select_page_us"], "us", floor=bare["bare_select_page_us"])


def ready_ms(daemon):
    """Start to the first 200 of /readyz."""
    daemon.start()
    return daemon.ready_seconds * 1e3


def bench_ready(report, scratch):
    """From exec to ready with 10,000 VMs in the database, beside a bare process that opens one connection."""
    directory = os.path.join(scratch, "ready")
    daemon = Daemon(directory)
    with daemon:
        add_host(daemon.local, "h1", f"fake:///ready?{BIG_HOST}")
        started = time.monotonic()
        fill(daemon, 0, 10000)
        report.line("10,000 creates, until all have ended", time.monotonic() - started, "s")
    bare, ours = [], []
    for _ in range(5):
        started = time.monotonic()
        with Program("bench_bare"):
            bare.append((time.monotonic() - started) * 1e3)
        ours.append(ready_ms(daemon))
        daemon.kill()
    report.line("ready after kill -9 with 10,000 VMs", median(ours), "ms", floor=median(bare),
                aim=lambda value, _: value < 100, aim_text="< 100 ms")
