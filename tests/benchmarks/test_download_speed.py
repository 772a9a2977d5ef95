from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from bench.fetching import download
from bench.fetching.digests import Expected, Running

MIB = 200

# A process of its own and no copying, so that the clients are what is measured.
SERVER = """
import os, socket, sys
file = open(sys.argv[1], "rb")
head = b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n"
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    while True:
        client, _ = listening.accept()
        with client:
            client.recv(65536)
            client.sendall(head % os.path.getsize(sys.argv[1]))
            client.sendfile(file, 0)
"""


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The address of a file of 200 MiB, and its digests."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    content, running = os.urandom(2**20), Running(MIB * 2**20)
    with (tmp_path / "served").open("wb") as file:
        for _ in range(MIB):
            file.write(content)
            running.update(content)
    words = [sys.executable, "-c", SERVER, str(tmp_path / "served")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/file", running.digests()
        finally:
            process.kill()


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl to compare with")
@pytest.mark.parametrize("git_blob", [False, True])
def test_downloading_and_hashing(served, tmp_path, ratio, git_blob):
    """A file of 200 MiB from loopback to disk, checked and synced, beside curl without a check."""
    address, digests = served
    target, other = tmp_path / "ours", tmp_path / "theirs"
    expected = Expected(digests.sha256, digests.git_blob if git_blob else None, digests.size)

    def ours():
        download.download([address], target, expected)
        target.unlink()

    def curl():
        subprocess.run(["curl", "-s", "-o", other, address], check=True)
        other.unlink()

    what = "SHA-256 and git blob" if git_blob else "SHA-256"
    ratio(f"downloading 200 MiB with {what}", ours, curl, "curl", 7)
