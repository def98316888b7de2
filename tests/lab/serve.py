#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One private libvirt for a test that is not Python: `serve.py DIR` prints its URI, its images directory
and the test guest's kernel and initramfs, a line each, and serves until its standard input is closed."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lab import PrivateLibvirt, build_guest  # noqa: E402  pylint: disable=wrong-import-position


def main():
    with PrivateLibvirt(sys.argv[1], default_network=False) as virt:
        print(virt.uri, virt.images_dir, *build_guest(), sep="\n", flush=True)
        sys.stdin.read()


main()
