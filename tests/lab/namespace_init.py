# SPDX-License-Identifier: Apache-2.0
"""First process of a lab namespace: reaps every orphan at once and ends with the suite.

Its end takes every process of the namespace, the mounts and the network devices with it; and it ends
when its standard input does, that is also when the suite was killed and could not tidy up.
"""
import signal
import sys

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then reaps orphans itself
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.buffer.read()
