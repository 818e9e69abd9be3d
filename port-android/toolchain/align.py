#!/usr/bin/env python3
"""align.py IN OUT: packs an APK anew. Native libraries are stored at multiples of 16 KB, so that Android maps them
without unpacking; the rest of what is stored at multiples of 4. The extra field 0xD935 makes apksigner keep that."""
import struct
import sys
import zipfile

PAGE, WORD = 16384, 4
FIELD = 0xD935
source, target = sys.argv[1:]
with zipfile.ZipFile(source) as packed, zipfile.ZipFile(target, "w") as out:
    for entry in packed.infolist():
        # One date, so that the same sources make the same package.
        new = zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0))
        new.external_attr = 0o644 << 16
        library = entry.filename.endswith(".so")
        new.compress_type = zipfile.ZIP_STORED if library or entry.filename.endswith(".arsc") else entry.compress_type
        if new.compress_type == zipfile.ZIP_STORED:
            alignment = PAGE if library else WORD
            begin = out.fp.tell() + 30 + len(entry.filename.encode()) + 6
            padding = -begin % alignment
            new.extra = struct.pack("<HHH", FIELD, 2 + padding, alignment) + bytes(padding)
        out.writestr(new, packed.read(entry))
