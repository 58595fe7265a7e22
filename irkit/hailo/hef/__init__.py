"""HEF files: what Hailo's compiler makes and its runtime loads.

    schema.py      the messages of a HEF, by field numbers, and a decoder that trusts nobody
    container.py   the header, the sections and the checksums
    contents.py    what is in a HEF, as data
    reader.py      a file becomes its contents
    check.py       is it for this chip, small enough, complete
    writer.py      small valid-looking files, for tests

Facts from the MIT-licensed sources of HailoRT (hailo-ai/hailort on GitHub, tags v4.6 to v5.2.0: libhailort/hef.proto
and libhailort/src/hef), compared with real files.
"""
