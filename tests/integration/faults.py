# SPDX-License-Identifier: Apache-2.0
"""The fault points of operations, from the tables of steps in the sources: a test that kills at each misses no new one."""
import functools
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
MOMENTS = ("before", "after")


@functools.cache
def sources():
    return [path.read_text(encoding="utf-8") for folder in ("compute", "storage") for path in sorted((ROOT / folder).glob("*.c"))]


def expand(source, table):
    """A table with the file's own macros of several lines written out."""
    for name, body in re.findall(r"#define (\w+)[ \t]*\\\n((?:.*\\\n)*.*)", source):
        table = re.sub(rf"\b{name}\b", lambda _, body=body: body, table)
    return table


def step_names(kind):
    """The steps of a kind of operation, in their order."""
    for source in sources():
        found = re.search(rf'\.name = "{re.escape(kind)}",\s*\.steps = (\w+)', source)
        if found:
            table = re.search(rf"struct operation_step {found[1]}\[\] = \{{(.*?)\}};", source, re.DOTALL)
            return re.findall(r'\.name = "(\w+)"', expand(source, table[1]))
    raise LookupError(f"no table of steps of {kind}")


def points(kind, moments=MOMENTS):
    """What BERTH_FAULT takes to kill the daemon at each step."""
    return [f"{kind}/{step}:{moment}" for step in step_names(kind) for moment in moments]
