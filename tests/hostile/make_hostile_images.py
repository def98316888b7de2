#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes disk images that must be refused, made by hand: make_hostile_images.py DIRECTORY [CANARY].

Each is one file; hostile() yields (name, declared format or None, bytes or a list of (offset, bytes), file size). Images
that try to read another file name CANARY, whose content must then never appear anywhere.
"""
import io
import json
import os
import struct
import sys
import tarfile

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
CLUSTER = 64 * KIB


class Qcow2:
    """A well-formed empty image of 1 GiB, but for what is changed."""

    def __init__(self, version=3, **changes):
        self.h = dict(magic=b"QFI\xfb", version=version, backing_offset=0, backing_size=0, cluster_bits=16, size=GIB,
                      crypt=0, l1_size=2, l1_offset=3 * CLUSTER, reftable_offset=CLUSTER, reftable_clusters=1,
                      snapshots=0, snapshots_offset=0, incompatible=0, compatible=0, autoclear=0, refcount_order=4,
                      header_length=104)
        self.h.update(changes)
        self.extensions = b""
        self.parts = []
        self.file_bytes = 5 * CLUSTER

    def extension(self, kind, data, length=None):
        self.extensions += struct.pack(">II", kind, len(data) if length is None else length) + data
        self.extensions += bytes(-len(data) % 8)
        return self

    def put(self, offset, data):
        self.parts.append((offset, data))
        return self

    def backing(self, name, kind=None):
        data = name.encode()
        self.h.update(backing_offset=1024, backing_size=len(data))
        if kind:
            self.extension(0xe2792aca, kind.encode())
        return self.put(1024, data)

    def size(self, file_bytes):
        self.file_bytes = file_bytes
        return self

    def build(self):
        h = self.h
        data = struct.pack(">4sIQIIQIIQQIIQ", h["magic"], h["version"], h["backing_offset"], h["backing_size"],
                           h["cluster_bits"], h["size"], h["crypt"], h["l1_size"], h["l1_offset"],
                           h["reftable_offset"], h["reftable_clusters"], h["snapshots"], h["snapshots_offset"])
        if h["version"] >= 3:
            data += struct.pack(">QQQII", h["incompatible"], h["compatible"], h["autoclear"], h["refcount_order"],
                                h["header_length"])
        return [(0, data + self.extensions + bytes(8))] + self.parts, self.file_bytes


def entries(*values):
    return b"".join(struct.pack(">Q", value) for value in values)


def qcow2_references(canary):
    secret = os.path.abspath(canary)
    names = {"absolute": secret, "relative": "../../" + os.path.basename(secret), "dots": "../" * 12 + secret[1:],
             "json": 'json:{"driver":"raw","file":{"driver":"file","filename":"%s"}}' % secret,
             "nbd": "nbd://127.0.0.1:10809/x", "nbd-unix": "nbd+unix:///x?socket=/run/libvirt/libvirt-sock",
             "http": "http://169.254.169.254/latest/meta-data/", "ssh": "ssh://root@127.0.0.1" + secret,
             "fat": "fat:/etc", "blkdebug": "blkdebug::" + secret, "proc": "/proc/self/environ", "device": "/dev/vda",
             "self": "image", "empty-format": secret, "long": "A" * 1023}
    for version in (2, 3):
        for name, target in names.items():
            kind = None if name == "empty-format" else "raw"
            yield f"qcow2-v{version}-backing-{name}", Qcow2(version).backing(target, kind)
    yield "qcow2-backing-size-without-offset", Qcow2(backing_size=20)
    yield "qcow2-backing-offset-without-size", Qcow2(backing_offset=1024)
    yield "qcow2-backing-size-huge", Qcow2(backing_offset=1024, backing_size=0xffffffff)
    yield "qcow2-backing-beyond-end", Qcow2(backing_offset=1 << 62, backing_size=100)
    yield "qcow2-backing-format-alone", Qcow2().extension(0xe2792aca, b"raw")
    data_file = Qcow2(incompatible=1 << 2).extension(0x44415441, secret.encode())
    yield "qcow2-data-file", data_file
    yield "qcow2-data-file-bit-alone", Qcow2(incompatible=1 << 2)
    yield "qcow2-data-file-name-alone", Qcow2().extension(0x44415441, secret.encode())
    yield "qcow2-data-file-raw", Qcow2(incompatible=1 << 2, autoclear=2).extension(0x44415441, b"/etc/shadow")
    yield "qcow2-data-file-json", Qcow2(incompatible=4).extension(0x44415441, names["json"].encode())


def qcow2_shapes():
    yield "qcow2-unknown-bit-5", Qcow2(incompatible=1 << 5)
    yield "qcow2-unknown-bit-63", Qcow2(incompatible=1 << 63)
    yield "qcow2-corrupt", Qcow2(incompatible=2)
    yield "qcow2-encrypted-aes", Qcow2(crypt=1)
    yield "qcow2-encrypted-luks", Qcow2(crypt=2).extension(0x0537be77, entries(CLUSTER, CLUSTER))
    yield "qcow2-version-1", Qcow2(1)
    yield "qcow2-version-4", Qcow2(4)
    yield "qcow2-cluster-bits-8", Qcow2(cluster_bits=8)
    yield "qcow2-cluster-bits-22", Qcow2(cluster_bits=22)
    yield "qcow2-cluster-bits-255", Qcow2(cluster_bits=255)
    yield "qcow2-refcount-order-7", Qcow2(refcount_order=7)
    yield "qcow2-header-length-short", Qcow2(header_length=72)
    yield "qcow2-header-length-huge", Qcow2(header_length=0x7ffffff8)
    yield "qcow2-header-length-odd", Qcow2(header_length=105)
    yield "qcow2-header-cut", Qcow2().size(90)
    yield "qcow2-header-cut-v2", Qcow2(2).size(71)
    yield "qcow2-magic-alone", Qcow2().size(4)
    yield "qcow2-compression-unknown", Qcow2(incompatible=8, header_length=112).put(104, b"\x07")
    yield "qcow2-extended-l2-small-clusters", Qcow2(incompatible=16, cluster_bits=12)
    yield "qcow2-extension-overlong", Qcow2().extension(0x12345678, b"", 0xfffffff0)
    yield "qcow2-extension-over-header", Qcow2().extension(0x12345678, b"x", CLUSTER)
    yield "qcow2-feature-names-odd", Qcow2().extension(0x6803f857, b"x" * 50)
    yield "qcow2-bitmaps-many", Qcow2().extension(0x23852875, struct.pack(">IIQQ", 65535, 0, 64, 4 * CLUSTER))
    yield "qcow2-bitmaps-beyond", Qcow2().extension(0x23852875, struct.pack(">IIQQ", 1, 0, 64, 1 << 40))
    yield "qcow2-size-zero", Qcow2(size=0)


def qcow2_bombs():
    yield "qcow2-size-exabytes", Qcow2(size=1 << 62, l1_size=4 << 20)
    yield "qcow2-size-all-ones", Qcow2(size=(1 << 64) - 1)
    yield "qcow2-l1-too-small", Qcow2(size=TIB, l1_size=1)
    yield "qcow2-l1-huge", Qcow2(l1_size=0xffffffff)
    yield "qcow2-l1-beyond-end", Qcow2(l1_offset=1 << 40)
    yield "qcow2-l1-in-header", Qcow2(l1_offset=0)
    yield "qcow2-l1-unaligned", Qcow2(l1_offset=3 * CLUSTER + 8)
    yield "qcow2-l1-overflow", Qcow2(l1_offset=(1 << 64) - CLUSTER)
    yield "qcow2-refcount-table-huge", Qcow2(reftable_clusters=0x7fffffff)
    yield "qcow2-refcount-table-beyond", Qcow2(reftable_offset=1 << 50)
    yield "qcow2-refcount-table-none", Qcow2(reftable_clusters=0)
    yield "qcow2-refcount-table-unaligned", Qcow2(reftable_offset=CLUSTER + 1)
    yield "qcow2-l2-beyond-end", Qcow2().put(3 * CLUSTER, entries(1 << 63 | 1 << 40))
    yield "qcow2-l2-unaligned", Qcow2().put(3 * CLUSTER, entries(1 << 63 | 4 * CLUSTER + 512))
    yield "qcow2-l2-shared", Qcow2().put(3 * CLUSTER, entries(1 << 63 | 4 * CLUSTER, 1 << 63 | 4 * CLUSTER))
    yield "qcow2-cluster-beyond-end", \
        Qcow2().put(3 * CLUSTER, entries(1 << 63 | 4 * CLUSTER)).put(4 * CLUSTER, entries(1 << 63 | 1 << 45))
    yield "qcow2-clusters-shared", \
        Qcow2().put(3 * CLUSTER, entries(1 << 63 | 4 * CLUSTER)).put(4 * CLUSTER, entries(*[1 << 63 | CLUSTER] * 8192))
    yield "qcow2-compressed-beyond-end", \
        Qcow2().put(3 * CLUSTER, entries(1 << 63 | 4 * CLUSTER)).put(4 * CLUSTER, entries(1 << 62 | 1 << 50))
    yield "qcow2-snapshots-many", Qcow2(snapshots=65536, snapshots_offset=4 * CLUSTER)
    yield "qcow2-snapshots-beyond", Qcow2(snapshots=1, snapshots_offset=1 << 50)
    yield "qcow2-snapshot-extra-huge", Qcow2(snapshots=1, snapshots_offset=4 * CLUSTER).put(
        4 * CLUSTER, struct.pack(">QIHHIIQII", 3 * CLUSTER, 1, 1, 1, 0, 0, 0, 0, 0x7fffffff))
    yield "qcow2-snapshot-l1-huge", Qcow2(snapshots=1, snapshots_offset=4 * CLUSTER).put(
        4 * CLUSTER, struct.pack(">QIHHIIQII", 3 * CLUSTER, 0xffffffff, 1, 1, 0, 0, 0, 0, 0))


def descriptor(kind="monolithicSparse", extents='RW 2097152 SPARSE "a.vmdk"\n', parent="ffffffff", more=""):
    return (f'# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID={parent}\ncreateType="{kind}"\n{more}\n'
            f'{extents}\nddb.virtualHWVersion = "4"\n').encode()


def vmdk(text, capacity=2097152, grain=128, desc_offset=1, desc_size=20, gtes=512, directory=26, version=1, flags=3,
         compression=0, size=MIB, tables=b""):
    header = struct.pack("<4sIIQQQQIQQQB4sH", b"KDMV", version, flags, capacity, grain, desc_offset, desc_size, gtes,
                         21, directory, 128, 0, b"\n \r\n", compression)
    return [(0, header), (desc_offset % 2000 * 512, text), (directory % 2000 * 512, tables)], size


def vmdks(canary):
    secret = os.path.abspath(canary)
    extent = f'RW 2097152 FLAT "{secret}" 0\n'
    yield "vmdk-flat-descriptor-in-sparse", vmdk(descriptor("monolithicFlat", extent))
    yield "vmdk-capacity-zero", vmdk(descriptor("monolithicFlat", extent), capacity=0)
    yield "vmdk-capacity-zero-sparse", vmdk(descriptor(), capacity=0)
    yield "vmdk-flat-extent", vmdk(descriptor(extents=extent))
    yield "vmdk-vmfs-extent", vmdk(descriptor(extents=f'RW 2097152 VMFS "{secret}"\n'))
    yield "vmdk-two-extents", vmdk(descriptor(extents='RW 1 SPARSE "a"\nRW 1 SPARSE "b"\n'))
    yield "vmdk-device-extent", vmdk(descriptor("fullDevice", 'RW 2097152 FLAT "/dev/vda" 0\n'))
    yield "vmdk-two-gb-kind", vmdk(descriptor("twoGbMaxExtentSparse"))
    yield "vmdk-parent", vmdk(descriptor(parent="12345678", more=f'parentFileNameHint="{secret}"'))
    yield "vmdk-parent-hint-alone", vmdk(descriptor(more=f'parentFileNameHint="{secret}"'))
    yield "vmdk-parent-hint-behind-nul", vmdk(descriptor() + b"\0" + f'parentFileNameHint="{secret}"'.encode())
    yield "vmdk-parent-beyond-descriptor-size", \
        vmdk(descriptor().ljust(700, b" ") + f'\nparentFileNameHint="{secret}"\n'.encode(), desc_size=1)
    yield "vmdk-no-descriptor", vmdk(b"", desc_offset=0, desc_size=0)
    yield "vmdk-descriptor-beyond-end", vmdk(descriptor(), desc_offset=1 << 40)
    yield "vmdk-descriptor-huge", vmdk(descriptor(), desc_size=1 << 50)
    yield "vmdk-grain-zero", vmdk(descriptor(), grain=0)
    yield "vmdk-grain-odd", vmdk(descriptor(), grain=100)
    yield "vmdk-table-entries", vmdk(descriptor(), gtes=0xffffffff)
    yield "vmdk-directory-beyond-end", vmdk(descriptor(), directory=1 << 40)
    yield "vmdk-capacity-overflow", vmdk(descriptor(), capacity=(1 << 64) - 1)
    yield "vmdk-directory-bomb", vmdk(descriptor(), capacity=1 << 33, grain=1)
    yield "vmdk-tables-shared", vmdk(descriptor(), tables=struct.pack("<II", 100, 100))
    yield "vmdk-table-beyond-end", vmdk(descriptor(), tables=struct.pack("<I", 0xfffffff0))
    yield "vmdk-version-9", vmdk(descriptor(), version=9)
    yield "vmdk-compression-unknown", vmdk(descriptor(), compression=7)
    yield "vmdk-footer-missing", vmdk(descriptor("streamOptimized"), directory=(1 << 64) - 1, flags=0x30001)
    yield "vmdk-descriptor-file", ([(0, descriptor("monolithicFlat", extent))], 1024)
    yield "vmdk-descriptor-file-sparse", ([(0, descriptor(extents=f'RW 1 SPARSE "{secret}"\n'))], 1024)
    yield "vmdk-esx-sparse", ([(0, b"COWD\x01\0\0\0")], MIB)


def vdi(**changes):
    h = dict(magic=0xbeda107f, version=0x00010001, kind=1, map=512, data=1024, sector=512, size=4 * MIB,
             block=MIB, extra=0, blocks=4, used=0, link=bytes(16), parent=bytes(16), entries=[0xffffffff] * 4,
             file=MIB)
    h.update(changes)
    data = bytearray(512)
    data[:64] = b"<<< QEMU VM Virtual Disk Image >>>\n".ljust(64, b"\0")
    struct.pack_into("<IIII", data, 0x40, h["magic"], h["version"], 0x180, h["kind"])
    struct.pack_into("<II", data, 0x154, h["map"], h["data"])
    struct.pack_into("<II", data, 0x168, h["sector"], 0)
    struct.pack_into("<QIIII", data, 0x170, h["size"], h["block"], h["extra"], h["blocks"], h["used"])
    data[0x1a8:0x1b8] = h["link"]
    data[0x1b8:0x1c8] = h["parent"]
    return [(0, bytes(data)), (512, struct.pack(f"<{len(h['entries'])}I", *h["entries"]))], h["file"]


def vdis():
    yield "vdi-version", vdi(version=0x00020001)
    yield "vdi-differencing", vdi(kind=4)
    yield "vdi-undo", vdi(kind=3)
    yield "vdi-parent", vdi(parent=b"p" * 16)
    yield "vdi-link", vdi(link=b"l" * 16)
    yield "vdi-block-size", vdi(block=512)
    yield "vdi-blocks-huge", vdi(blocks=0xffffffff, size=1 << 50)
    yield "vdi-blocks-too-few", vdi(blocks=1)
    yield "vdi-map-beyond-end", vdi(map=0xfffffe00, data=0xfffffe00)
    yield "vdi-used-beyond-end", vdi(used=4, entries=[0, 1, 2, 3])
    yield "vdi-block-twice", vdi(used=1, entries=[0, 0, 0, 0], file=2 * MIB)
    yield "vdi-block-beyond-used", vdi(used=1, entries=[5, 0xffffffff, 0xffffffff, 0xffffffff], file=2 * MIB)
    yield "vdi-size-exabytes", vdi(size=1 << 62)
    yield "vdi-header-cut", vdi(file=400)


OVF = """<?xml version="1.0"?>
{doctype}<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
<References><File ovf:id="f1" ovf:href="{href}"{file}/>{files}</References>
<DiskSection><Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="1073741824"{disk}/>{disks}</DiskSection></Envelope>"""


def ovf(href="disk.vmdk", doctype="", file="", files="", disk="", disks=""):
    return OVF.format(href=href, doctype=doctype, file=file, files=files, disk=disk, disks=disks).encode()


def tar(*members):
    """Members: (name, bytes) or (name, kind of link, target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for member in members:
            info = tarfile.TarInfo(member[0])
            data = member[1] if len(member) == 2 else b""
            if len(member) == 3:
                info.type, info.linkname = member[1], member[2]
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return [(0, out.getvalue())], len(out.getvalue())


def flatten(parts, size):
    data = bytearray(size)
    for offset, part in parts:
        data[offset:offset + len(part)] = part
    return bytes(data[:size])


def ovas(canary):
    secret = os.path.abspath(canary)
    good = flatten(*vmdk(descriptor()))
    flat = flatten(*vmdk(descriptor("monolithicFlat", f'RW 1 FLAT "{secret}" 0\n')))
    based = flatten(*Qcow2().backing(secret, "raw").build())
    yield "ova-traversal-entry", tar(("a.ovf", ovf()), ("../../escaped.vmdk", good))
    yield "ova-absolute-entry", tar(("a.ovf", ovf()), ("/tmp/escaped.vmdk", good))
    yield "ova-traversal-href", tar(("a.ovf", ovf("../../../etc/passwd")), ("disk.vmdk", good))
    yield "ova-absolute-href", tar(("a.ovf", ovf(secret)), ("disk.vmdk", good))
    yield "ova-url-href", tar(("a.ovf", ovf("http://127.0.0.1/disk.vmdk")), ("disk.vmdk", good))
    yield "ova-symlink-disk", tar(("a.ovf", ovf()), ("disk.vmdk", tarfile.SYMTYPE, secret))
    yield "ova-hardlink-disk", tar(("a.ovf", ovf()), ("disk.vmdk", tarfile.LNKTYPE, secret))
    yield "ova-symlink-ovf", tar(("a.ovf", tarfile.SYMTYPE, secret), ("disk.vmdk", good))
    yield "ova-device-entry", tar(("a.ovf", ovf()), ("disk.vmdk", tarfile.CHRTYPE, ""))
    yield "ova-no-ovf", tar(("disk.vmdk", good))
    yield "ova-no-disk", tar(("a.ovf", ovf()), ("other.vmdk", good))
    yield "ova-two-disks", tar(("a.ovf", ovf(files='<File ovf:id="f2" ovf:href="b.vmdk"/>',
                                             disks='<Disk ovf:diskId="d2" ovf:fileRef="f2"/>')), ("disk.vmdk", good))
    yield "ova-parent-disk", tar(("a.ovf", ovf(disk=' ovf:parentRef="d0"')), ("disk.vmdk", good))
    yield "ova-compressed-disk", tar(("a.ovf", ovf(file=' ovf:compression="gzip"')), ("disk.vmdk", good))
    yield "ova-external-entity", tar(
        ("a.ovf", ovf(doctype=f'<!DOCTYPE x [<!ENTITY y SYSTEM "file://{secret}">]>')), ("disk.vmdk", good))
    yield "ova-entity-bomb", tar(
        ("a.ovf", ovf(doctype='<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>')),
        ("disk.vmdk", good))
    yield "ova-not-xml", tar(("a.ovf", b"MZ\x90"), ("disk.vmdk", good))
    yield "ova-two-descriptions", tar(("a.ovf", ovf()), ("b.ovf", ovf()), ("disk.vmdk", good))
    yield "ova-flat-vmdk-inside", tar(("a.ovf", ovf()), ("disk.vmdk", flat))
    yield "ova-backed-qcow2-inside", tar(("a.ovf", ovf()), ("disk.vmdk", based))
    yield "ova-descriptor-inside", tar(("a.ovf", ovf()), ("disk.vmdk", descriptor("monolithicFlat", f'RW 1 FLAT "{secret}" 0')))
    yield "ova-raw-inside", tar(("a.ovf", ovf()), ("disk.vmdk", b"raw" * 1000))
    parts, size = tar(("a.ovf", ovf()), ("disk.vmdk", good))
    yield "ova-cut", (parts, size // 2)
    many = [(f"f{i}.txt", b"x") for i in range(100)]
    yield "ova-many-entries", tar(("a.ovf", ovf()), *many, ("disk.vmdk", good))


def raws(canary):
    secret = os.path.abspath(canary)
    yield "raw-with-qcow2-magic", "raw", Qcow2().backing(secret, "raw").build()
    yield "raw-with-plain-qcow2", "raw", Qcow2().build()
    yield "raw-with-vmdk-magic", "raw", vmdk(descriptor())
    yield "raw-with-vmdk-descriptor", "raw", ([(0, descriptor("monolithicFlat", f'RW 1 FLAT "{secret}" 0'))], 4096)
    yield "raw-with-vdi-magic", "raw", vdi()
    yield "raw-with-luks-magic", "raw", ([(0, b"LUKS\xba\xbe")], MIB)
    yield "raw-with-vhdx-magic", "raw", ([(0, b"vhdxfile")], MIB)
    yield "raw-with-qed-magic", "raw", ([(0, b"QED\0")], MIB)
    yield "qcow2-that-is-none", "qcow2", ([(0, b"nothing")], MIB)
    yield "vmdk-that-is-qcow2", "vmdk", Qcow2().build()
    yield "unknown-format", None, ([(0, b"nothing")], MIB)


def hostile(canary):
    for source in (qcow2_references(canary), qcow2_shapes(), qcow2_bombs()):
        for name, image in source:
            yield name, None, *image.build()
    for source in (vmdks(canary), vdis(), ovas(canary)):
        for name, image in source:
            yield name, None, *image
    for name, declared, image in raws(canary):
        yield name, declared, *image


def write(directory, canary):
    """Writes all of them and index.json; answers [(name, declared, path)]."""
    os.makedirs(directory, exist_ok=True)
    index = []
    for name, declared, parts, size in hostile(canary):
        path = os.path.join(directory, name)
        with open(path, "wb") as out:
            for offset, data in parts:
                out.seek(offset)
                out.write(data)
            out.truncate(size)
        index.append((name, declared, path))
    with open(os.path.join(directory, "index.json"), "w", encoding="utf-8") as out:
        json.dump([{"name": name, "format": declared} for name, declared, _ in index], out, indent=1)
    return index


if __name__ == "__main__":
    print(len(write(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "/etc/canary")), "images")
