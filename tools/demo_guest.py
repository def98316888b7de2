# SPDX-License-Identifier: Apache-2.0
"""Commands to the demo's guests through their agents. Asked by virsh: berthd may be dead."""
import base64
import json

from demo_place import DemoError, VM, virsh, wait_until


def ask_agent(vm, command, **arguments):
    message = {"execute": command, **({"arguments": arguments} if arguments else {})}
    return json.loads(virsh("qemu-agent-command", "--timeout", 20, vm, json.dumps(message)))["return"]


def guestctl(*words, vm=VM):
    """What the guest's test program answers to a command."""
    pid = ask_agent(vm, "guest-exec", path="/bin/guestctl", arg=[str(w) for w in words], **{"capture-output": True})["pid"]

    def ended():
        status = ask_agent(vm, "guest-exec-status", pid=pid)
        return status if status["exited"] else None

    text = base64.b64decode(wait_until(ended, 60, "the guest does not answer")["out-data"]).decode()
    if not text.startswith("OK"):
        raise DemoError(f"guestctl {' '.join(map(str, words))}: {text.strip()}")
    return dict(word.split("=", 1) for word in text.split()[1:] if "=" in word)


def wait_for_agent(vm, seconds):
    def answers():
        try:
            return ask_agent(vm, "guest-ping") == {}
        except DemoError:
            return False

    wait_until(answers, seconds, f"the agent of {vm} does not answer", 0.2)
