# SPDX-License-Identifier: Apache-2.0
"""Virtual hosts and guests to test against; see README.md."""
from .fleet import Fleet
from .guest import (GuestAgent, GuestError, SerialConsole, build_guest, domain_xml, serial_log,
                    wait_ready)
from .namespace import CommandFailed, Namespace
from .private import PrivateLibvirt
from .wait import wait_until

__all__ = ["CommandFailed", "Fleet", "GuestAgent", "GuestError", "Namespace", "PrivateLibvirt",
           "SerialConsole", "build_guest", "domain_xml", "serial_log", "wait_ready", "wait_until"]
