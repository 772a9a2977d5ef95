from __future__ import annotations

import email.utils
import logging
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from downloads import CONTENT, HASH, HTML, RIGHT, part, put_part, ranges
from filelock import FileLock
from web_server import cut, drip, page, redirect, status

from bench.errors import BenchError
from bench.fetching import digests, download, web
from bench.fetching.digests import Expected

pytest_plugins = ["download_fixtures"]


# A file arrives.


def test_a_file_arrives_whole_and_nothing_else_stays(server, get, target):
    address = server.put("/w.pth", CONTENT)
    arrived = get(address)
    assert arrived == (target, digests.of(target), address)
    assert target.read_bytes() == CONTENT
    here = {file.name for file in target.parent.iterdir()}
    assert here == {".weights.pth.digest", "weights.pth"}
    assert "Authorization" not in server.asked[0][1]
    assert server.asked[0][1]["Accept-Encoding"] == "identity"


def test_a_file_that_is_here_is_not_asked_for(server, get, monkeypatch):
    address = server.put("/w.pth", CONTENT)
    first = get(address)
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(digests, "of", None)  # nor is it hashed again
    assert get(address) == first._replace(address=None)


def test_another_file_that_is_here_is_left_alone(server, get, target):
    target.parent.mkdir()
    target.write_bytes(b"mine")
    address = server.put("/w.pth", CONTENT)
    with pytest.raises(BenchError, match=r"weights.pth is not the published file: .*move it away"):
        get(address)
    assert target.read_bytes() == b"mine"
    assert server.asked == []


@pytest.mark.parametrize(
    "expected",
    [
        Expected(),
        Expected(HASH),
        Expected(HASH[:8]),
        Expected(HASH.upper()),
        Expected(size=len(CONTENT)),
    ],
)
@pytest.mark.parametrize("says_length", [True, False])
def test_what_is_expected_arrives(server, get, target, expected, says_length):
    get(server.put("/w.pth", CONTENT, says_length=says_length), expected=expected)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "about", [{}, {"etag": None}, {"says_length": False}, {"ranges": False}], ids=str
)
def test_a_git_blob(server, get, fails, about):
    running = digests.Running(len(CONTENT))
    running.update(CONTENT)
    whole = running.digests()
    address = server.put("/w.pth", CONTENT, **about)
    message = fails(address, expected=Expected(git_blob="0" * 40))
    assert f"expected git blob {'0' * 40}, found {whole.git_blob}" in message
    if "says_length" not in about:
        server.scripts["/w.pth"] = [cut(99_999)]
    assert get(address, expected=Expected(git_blob=whole.git_blob)).digests == whole


def test_progress_tells_what_is_here_and_what_there_will_be(server, get, target):
    put_part(target, CONTENT[:100_000])
    told = []
    get(server.put("/w.pth", CONTENT), progress=lambda *at: told.append(at))
    assert told[0] == (100_000, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert told == sorted(told)
    target.unlink()
    told.clear()
    address = server.put("/w.pth", CONTENT, says_length=False)
    get(address, expected=Expected(), progress=lambda *at: told.append(at))
    assert told[0] == (0, None)
    assert told[-1] == (len(CONTENT), None)


def test_a_slow_body_is_waited_for(server, get, target, monkeypatch):
    gate, told = threading.Event(), []
    address = server.put("/w.pth", CONTENT, drip(70_000, gate))

    def progress(here, _total):
        told.append(here)
        if here >= 70_000:
            gate.set()

    get(address, progress=progress)
    assert 70_000 in told  # what came was told before the rest came
    assert server.count("/w.pth") == 1


# Processes.


def start(target, *addresses, expected=RIGHT):
    """Another process that downloads."""
    code = (
        "import sys, pathlib\n"
        "from bench.fetching import digests, download\n"
        "_, target, sha256, *addresses = sys.argv\n"
        "known = digests.Expected(sha256 or None)\n"
        "print(download.download(addresses, pathlib.Path(target), known).address)\n"
    )
    words = [sys.executable, "-c", code, str(target), expected.sha256 or "", *addresses]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_kill_9_leaves_what_has_come(server, get, target):
    address = server.put("/w.pth", CONTENT, drip(90_000, threading.Event()))
    with start(target, address, expected=Expected()) as process:
        wait_for(lambda: part(target).exists() and part(target).stat().st_size > 60_000)
        process.send_signal(signal.SIGKILL)
    assert not target.exists()
    here = part(target).stat().st_size
    get(address, expected=Expected())  # its lock is no obstacle either
    assert ranges(server) == [None, f"bytes={here}-"]
    assert target.read_bytes() == CONTENT


def test_two_processes_download_once(server, target):
    gate = threading.Event()
    address = server.put("/w.pth", CONTENT, drip(90_000, gate))
    with start(target, address) as first:
        wait_for(lambda: part(target).exists())
        with start(target, address) as second:
            time.sleep(1)
            gate.set()
            said = {first.communicate()[0].strip(), second.communicate()[0].strip()}
    assert (first.returncode, second.returncode) == (0, 0)
    assert said == {address, "None"}
    assert target.read_bytes() == CONTENT
    assert server.count("/w.pth") == 1


def test_waiting_for_another_process_can_be_interrupted(server, get, target):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    address = server.put("/w.pth", CONTENT)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")), pytest.raises(KeyboardInterrupt):
        download.download([address], target, pause=interrupt)
    assert server.asked == []
    get(address)


def test_a_folder_that_cannot_be_locked(server, target, no_flock):
    words = r"cannot write .*weights\.pth: found Function not implemented; choose another folder"
    with pytest.raises(BenchError, match=words):
        download.download([server.put("/w.pth", CONTENT)], target)
    assert server.asked == []


# Servers that fail.


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_final(server, fails, pauses, code):
    address = server.put("/w.pth", CONTENT, *[status(code)] * 9)
    assert f"{address} answers {code} " in fails(address)
    assert (server.count("/w.pth"), pauses) == (1, [])


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504, 520, 529])
def test_twice_in_vain_then_fine(server, get, target, pauses, code):
    get(server.put("/w.pth", CONTENT, status(code), status(code)))
    assert target.read_bytes() == CONTENT
    assert 0.5 <= pauses[0] <= 1 <= pauses[1] <= 2


def test_attempts_and_pauses_are_bounded(server, fails, pauses):
    address = server.put("/w.pth", CONTENT, *[status(500)] * 99)
    assert "answers 500 Internal Server Error" in fails(address)
    assert server.count("/w.pth") == download.ATTEMPTS == len(pauses) + 1
    assert all(2**n / 2 <= pause <= 2**n for n, pause in enumerate(pauses))


def test_retry_after_in_seconds(server, get, pauses):
    get(server.put("/w.pth", CONTENT, status(429, {"Retry-After": "7"})))
    assert pauses == [7]


def test_retry_after_as_a_date(server, get, pauses):
    dates = [email.utils.formatdate(time.time() + s, usegmt=True) for s in (30, -30)]
    acts = [status(429, {"Retry-After": date}) for date in [*dates, "soon"]]
    get(server.put("/w.pth", CONTENT, *acts))
    assert 25 < pauses[0] <= 30
    assert pauses[1] == 0
    assert 2 <= pauses[2] <= 4  # what cannot be read is as good as nothing


def test_retry_after_is_honoured_up_to_a_bound(server, get, fails, pauses):
    address = server.put("/w.pth", CONTENT, *[status(503, {"Retry-After": "4000"})] * 2)
    assert "503 Service Unavailable, and asks to come back in 4000 s" in fails(address)
    assert pauses == []
    assert get(address, server.put("/other", CONTENT)).address.endswith("/other")


def test_mirrors_are_asked_in_order_and_each_is_quoted(server, get, fails, target):
    gone = server.root + "/gone"
    wrong = server.put("/wrong", bytes(len(CONTENT)))
    short = server.put("/short", b"short")
    message = fails(gone, wrong, short)
    assert f"{gone} answers 404 Not Found" in message
    assert f"{wrong} has another file (expected SHA-256 {HASH}, found " in message
    assert f"{short} has a file of 5 bytes, not {len(CONTENT)}" in message
    assert message.index(gone) < message.index(wrong) < message.index(short)
    assert message.endswith(f"put it at {target}")
    assert get(gone, wrong, short, server.put("/w.pth", CONTENT)).address.endswith("/w.pth")


def test_the_mirrors_of_the_environment_come_first(server, get, monkeypatch):
    server.put("/mirror/b/w.pth", CONTENT)
    server.put("/mirror/raw/o/r/c/w.pth", CONTENT)
    monkeypatch.setenv(
        "BENCH_MIRRORS",
        f"https://nowhere.invalid/a/={server.root}/mirror/,"
        f"https://raw.githubusercontent.com/={server.root}/mirror/raw/",
    )
    arrived = get("https://nowhere.invalid/a/b/w.pth")
    assert arrived.address == server.root + "/mirror/b/w.pth"
    arrived.path.unlink()
    arrived = get("https://github.com/o/r/blob/c/w.pth")
    assert arrived.address == server.root + "/mirror/raw/o/r/c/w.pth"


def test_no_server_at_all(fails, pauses):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    message = fails(f"http://127.0.0.1:{port}/w.pth?token=secret")
    assert f"http://127.0.0.1:{port}/w.pth?token=*** no connection;" in message
    assert len(pauses) == download.ATTEMPTS - 1


def test_a_server_that_says_nothing(fails, monkeypatch, pauses):
    monkeypatch.setattr(web, "STALL_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}/w.pth"
        assert f"{address} no answer in time" in fails(address)
    assert len(pauses) == download.ATTEMPTS - 1


def test_a_body_that_stalls_is_resumed(server, get, target, monkeypatch):
    monkeypatch.setattr(web, "STALL_S", 0.2)
    address = server.put("/w.pth", CONTENT, drip(90_000, threading.Event()))
    get(address)
    assert ranges(server) == [None, "bytes=90000-"]
    assert target.read_bytes() == CONTENT


# Redirects and secrets.


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(server, get, code):
    real = server.put("/real", CONTENT)
    first = server.put("/w.pth", b"", redirect("/middle", code))
    server.put("/middle", b"", redirect(real))
    assert get(first).address == first
    assert [path for path, _ in server.asked] == ["/w.pth", "/middle", "/real"]


def test_a_redirect_loop_ends(server, fails, pauses):
    address = server.put("/w.pth", CONTENT, *[redirect("/w.pth")] * 99)
    assert "redirects more than 10 times" in fails(address)
    assert (server.count("/w.pth"), pauses) == (11, [])


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://[half/a"])
def test_a_redirect_that_is_not_followed(server, fails, pauses, to):
    address = server.put("/w.pth", CONTENT, *[redirect(to)] * 9)
    assert f"{address} redirects to " in fails(address)
    assert pauses == []


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".org"])
def test_a_host_that_cannot_be_named(server, fails, pauses, host):
    address = server.put("/w.pth", CONTENT, redirect(f"http://{host}/w.pth"))
    assert f"{address} is no web address; try again later" in fails(address)
    assert pauses == []


def test_a_resumed_download_is_redirected_again(server, get, target):
    server.put("/real", CONTENT, cut(50_000))
    get(server.put("/w.pth", b"", redirect("/real?sig=1"), redirect("/real?sig=2")))
    assert [path for path, _ in server.asked] == ["/w.pth", "/real?sig=1", "/w.pth", "/real?sig=2"]
    assert server.asked[3][1]["Range"] == "bytes=50000-"
    assert target.read_bytes() == CONTENT


def test_no_secret_is_told(server, get, fails, target, caplog):
    caplog.set_level(logging.DEBUG)
    host = server.root.removeprefix("http://")
    address = f"http://me:S3CRET@{host}/w.pth?token=S3CRET2&id=5#access_token=S3CRET3"
    for acts in (
        [status(403)],
        [status(500)] * 9,
        [cut(90_000)] * 9,
        [page(HTML, 200)],
        [redirect(f"ftp://me:S3CRET@{host}/?sig=S3CRET")],
        [redirect(f"http://me:S3CRET@{host}/w.pth?sig=S3CRET")] * 20,
    ):
        server.put("/w.pth", CONTENT, *acts)
        message = fails(address)
        assert "S3CRET" not in message
        assert f"http://{host}/w.pth?token=***&id=5#***" in message
    assert "S3CRET" not in fails(address, offline=True)
    assert server.asked[0][1]["Authorization"].startswith("Basic ")
    server.put("/w.pth", CONTENT, cut(200_000))
    interrupted = pytest.raises(KeyboardInterrupt)

    def stop(here, _total):
        if here > 150_000:
            raise KeyboardInterrupt

    with interrupted:
        get(address, progress=stop)
    kept = [file.read_bytes() for file in target.parent.iterdir()]
    assert not any(b"S3CRET" in content for content in kept)
    assert "S3CRET" not in repr(get(address))
    assert "S3CRET" not in caplog.text


def test_no_secret_goes_to_another_host(server, get):
    host = server.root.removeprefix("http://127.0.0.1")
    server.put("/real", CONTENT)
    cookie = {"Location": f"http://localhost{host}/real", "Set-Cookie": "a=S3CRET"}
    server.put("/w.pth", b"", status(302, cookie))
    get(f"http://me:S3CRET@127.0.0.1{host}/w.pth")
    assert "Authorization" in server.asked[0][1]
    assert not {"Authorization", "Cookie"} & set(server.asked[1][1])


# Offline.


@pytest.mark.parametrize(
    ("value", "wanted"), [(None, False), ("", False), ("0", False), ("1", True), ("no", True)]
)
def test_the_environment_may_forbid_the_network(monkeypatch, value, wanted):
    if value is None:
        monkeypatch.delenv("BENCH_OFFLINE", raising=False)
    else:
        monkeypatch.setenv("BENCH_OFFLINE", value)
    assert download.offline_wanted() is wanted


@pytest.mark.parametrize("argument", [True, False])
def test_offline_opens_no_socket(get, fails, target, monkeypatch, argument):
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setenv("BENCH_OFFLINE", "0" if argument else "1")
    message = fails("http://127.0.0.1/w", "https://example.org/w.pth", offline=argument)
    assert message == (
        f"weights.pth is not on this machine: expected {target}; fetch it with the network, "
        "or put it there from http://127.0.0.1/w, https://example.org/w.pth"
    )
    assert not target.parent.exists()
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert get("http://127.0.0.1/w", offline=argument).address is None


def test_nowhere_to_download_from(fails):
    assert "weights.pth is not on this machine" in fails()


def test_a_bad_address_is_told_before_anything_is_asked(server, fails):
    message = fails(server.put("/w.pth", CONTENT), "ftp://me:secret@example.org/w.pth")
    assert "not a web address" in message
    assert "secret" not in message
    assert server.asked == []
