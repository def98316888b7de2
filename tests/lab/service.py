# SPDX-License-Identifier: Apache-2.0
"""A daemon that runs in the foreground inside a host's namespace: started, frozen, ended."""
import contextlib
import os
import pathlib
import signal
import subprocess

from .namespace import CommandFailed
from .wait import wait_until


class Service:
    """One process; its output goes to a file, so that it never holds the suite's own."""

    def __init__(self, namespace, log_path, *words):
        self.namespace = namespace
        self.log_path = pathlib.Path(log_path)
        self.words = [str(word) for word in words]
        self._entering = None  # nsenter, which waits for it
        self.pid = None  # as seen from outside

    def start(self):
        """Starts it; whether it is ready is for the caller to see."""
        with open(self.log_path, "ab") as log:
            self._entering = subprocess.Popen(
                self.namespace.command(*self.words), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=self.namespace.cgroups.join)
        parent = self._entering.pid
        children = pathlib.Path(f"/proc/{parent}/task/{parent}/children")
        self.pid = int(wait_until(lambda: self._alive() and children.read_text().split(), 10,
                                  f"{self.words[0]} starts, see {self.log_path}")[0])
        return self

    def _alive(self):
        if self._entering.poll() is not None:
            raise CommandFailed(f"{self.words[0]} ended, see {self.log_path}")
        return True

    def is_running(self):
        """Whether it is there, frozen or not."""
        return self._entering is not None and self._entering.poll() is None

    def pause(self):
        """It stops answering; its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        """It goes on after pause(). nsenter has stopped along with it."""
        for pid in (self.pid, self._entering.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def stop(self, grace_seconds=5):
        """Ends it, by force after the grace."""
        if self._entering is None:
            return
        self.resume()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        try:
            self._entering.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._entering.wait(30)
        self._entering = None
