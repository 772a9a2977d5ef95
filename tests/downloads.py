"""A file to download, and what an interrupted download leaves of it."""

from __future__ import annotations

import json
import random

from web_server import sha256

from bench.fetching.digests import Expected

CONTENT = random.Random(6).randbytes(300_000)  # noqa: S311 - a file, no secret
HASH = sha256(CONTENT)
RIGHT = Expected(HASH, size=len(CONTENT))
HTML = "<html><head><title>Sign\n in</title></head><body>please</body></html>"


def part(target):
    return target.with_name(f".{target.name}.part")


def put_part(target, content, **origin):
    """Leaves a part as an interrupted download would."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part(target).write_bytes(content)
    if origin:
        note = {"etag": None, "modified": None} | origin
        target.with_name(f".{target.name}.part.json").write_text(json.dumps(note))


def ranges(server):
    return [headers.get("Range") for _, headers in server.asked]
