from __future__ import annotations

import email.utils
import json
import logging
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from web_server import File, Server, body, cut, drip, page, redirect, reset, sha256, status

from bench import digests, download, transfer, web
from bench.digests import Expected
from bench.errors import BenchError

CONTENT = random.Random(6).randbytes(300_000)  # noqa: S311 - a file, no secret
HASH = sha256(CONTENT)
RIGHT = Expected(HASH, size=len(CONTENT))


@pytest.fixture(scope="module")
def running():
    with Server() as running:
        yield running


@pytest.fixture
def server(running, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running.files.clear()
    running.scripts.clear()
    running.asked.clear()
    return running


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "weights.pth"


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def get(target, pauses):
    """Downloads to the target without pausing; the pauses are noted."""

    def run(*addresses, expected=RIGHT, **options):
        options.setdefault("pause", pauses.append)
        return download.download(addresses, target, expected, **options)

    return run


@pytest.fixture
def fails(get, target):
    """Downloads in vain: the message, once nothing is seen under the final name."""

    def run(*addresses, **options):
        with pytest.raises(BenchError) as caught:
            get(*addresses, **options)
        assert not target.exists()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


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


# Interruptions.


@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_connection_that_ends_early_is_resumed(server, get, target, pauses, tenth):
    after = len(CONTENT) * tenth // 10
    get(server.put("/w.pth", CONTENT, cut(after)))
    assert target.read_bytes() == CONTENT
    assert len(pauses) == 1
    assert ranges(server) == [None, f"bytes={after}-"]


def test_a_connection_that_is_reset_is_resumed(server, get, target):
    get(server.put("/w.pth", CONTENT, reset(150_000)))
    assert target.read_bytes() == CONTENT
    assert server.count("/w.pth") == 2


def test_every_attempt_goes_on_where_the_last_ended(server, get, target, pauses):
    cuts = [cut(end) for end in (50_000, 100_000, 150_000, 200_000)]
    get(server.put("/w.pth", CONTENT, *cuts))
    assert target.read_bytes() == CONTENT
    assert ranges(server) == [None, *(f"bytes={n}-" for n in (50000, 100000, 150000, 200000))]
    assert [headers.get("If-Range") for _, headers in server.asked] == [None] + ['"1"'] * 4


def test_attempts_that_bring_much_do_not_count(server, get, target, monkeypatch):
    monkeypatch.setattr(download, "_GAIN", 1000)
    address = server.put("/w.pth", CONTENT, *(cut(n) for n in range(10_000, 300_000, 10_000)))
    get(address)
    assert server.count("/w.pth") == 30


def test_a_server_without_ranges_starts_again(server, get, target):
    get(server.put("/w.pth", CONTENT, cut(120_000), ranges=False))
    assert target.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=120000-"]


def test_the_time_of_change_is_a_validator_too(server, get, target):
    date = "Fri, 20 Nov 2026 12:00:00 GMT"
    address = server.put("/w.pth", CONTENT, cut(120_000), etag='W/"1"', modified=date)
    get(address, expected=Expected())
    assert server.asked[1][1]["If-Range"] == date
    assert target.read_bytes() == CONTENT


def test_without_validator_and_digest_a_file_starts_again(server, get, target):
    address = server.put("/w.pth", CONTENT, cut(120_000), etag=None)
    get(address, expected=Expected(size=len(CONTENT)))
    assert ranges(server) == [None, None]
    assert target.read_bytes() == CONTENT


def test_a_digest_is_validator_enough(server, get, target):
    address = server.put("/w.pth", CONTENT, cut(120_000), etag=None)
    get(address)
    assert ranges(server) == [None, "bytes=120000-"]
    assert "If-Range" not in server.asked[1][1]


@pytest.mark.parametrize("expected", [Expected(), RIGHT])
def test_a_file_that_changed_starts_again(server, get, target, expected):
    address = server.put("/w.pth", CONTENT, etag='"2"')
    put_part(target, bytes(100_000), address=address, etag='"1"')
    get(address, expected=expected)
    assert target.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=100000-"]  # answered by the whole file


def test_a_server_that_ignores_if_range_is_not_trusted(server, get, target):
    def ignorant(handler):
        del handler.headers["If-Range"]
        handler.serve(handler.server.files["/w.pth"])

    address = server.put("/w.pth", CONTENT, ignorant, etag='"2"')
    put_part(target, bytes(100_000), address=address, etag='"1"')
    get(address, expected=Expected())
    assert target.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=100000-", None]


def test_a_server_that_sends_another_range_is_not_trusted(server, get, target):
    wrong = {"Content-Range": f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"}
    address = server.put("/w.pth", CONTENT, status(206, wrong, CONTENT[5:]))
    put_part(target, CONTENT[:100_000], address=address, etag='"1"')
    get(address)
    assert target.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=100000-", None]


def test_a_part_with_wrong_bytes_is_found_out(server, get, target):
    address = server.put("/w.pth", CONTENT)
    put_part(target, bytes(100_000), address=address, etag='"1"')
    get(address)
    assert target.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=100000-", None]


def test_a_wrong_part_as_long_as_the_file_is_found_out(server, get, target):
    address = server.put("/w.pth", CONTENT)
    put_part(target, bytes(len(CONTENT)))
    get(address)
    assert target.read_bytes() == CONTENT
    assert ranges(server) == [None]


def test_a_part_that_only_lacks_its_name_needs_no_network(server, get, target):
    put_part(target, CONTENT)
    get(server.put("/w.pth", CONTENT))
    assert target.read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize(("expected", "asked"), [(Expected(HASH), 1), (Expected(), 2)])
def test_nothing_left_to_send(server, get, target, expected, asked):
    """416: a digest shows that the part was whole; without one the file comes again."""
    address = server.put("/w.pth", CONTENT)
    put_part(target, CONTENT, address=address, etag='"1"')
    get(address, expected=expected)
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == asked


def test_a_part_longer_than_the_file_starts_again(server, get, target):
    address = server.put("/w.pth", CONTENT)
    put_part(target, CONTENT + b"more", address=address, etag='"1"')
    get(address, expected=Expected(HASH))
    assert target.read_bytes() == CONTENT
    put_part(target.with_name("other"), CONTENT + b"more")
    download.download([address], target.with_name("other"), RIGHT)
    assert ranges(server) == ["bytes=300004-", None, None]


@pytest.mark.parametrize("note", ["", "{", "[]", '{"address": 3}'])
def test_a_corrupt_note_beside_the_part(server, get, target, note):
    put_part(target, CONTENT[:1000])
    target.with_name(".weights.pth.part.json").write_text(note)
    get(server.put("/w.pth", CONTENT), expected=Expected())
    assert target.read_bytes() == CONTENT


def test_answers_that_do_not_fit_together_are_found_out(server, get, target):
    def other(handler):
        handler.serve(File(bytes(len(CONTENT)), etag=None), stop_after=100_000)

    address = server.put("/w.pth", CONTENT, other, etag=None)
    get(address)
    assert target.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=100000-", None]


def test_bytes_of_two_mirrors_are_joined_if_a_digest_is_known(server, get, target):
    one = server.put("/one", CONTENT, *[cut(150_000)] * 9)
    two = server.put("/two", CONTENT, etag='"two"')
    assert get(one, two).address == two
    assert target.read_bytes() == CONTENT
    assert server.asked[-1][1]["Range"] == "bytes=150000-"
    assert "If-Range" not in server.asked[-1][1]


def test_bytes_of_two_mirrors_are_never_joined_unseen(server, get, fails, target):
    """What was joined under a digest has no validator for a later run without one."""
    one = server.put("/one", CONTENT, *[cut(100_000)] * 9)
    two = server.put("/two", bytes(len(CONTENT)), *[cut(200_000)] * 9)
    fails(one, two)
    assert part(target).stat().st_size == 200_000
    server.scripts.clear()
    get(two, expected=Expected())
    assert target.read_bytes() == bytes(len(CONTENT))


def test_ctrl_c_leaves_what_has_come(server, get, fails, target):
    address = server.put("/w.pth", CONTENT, drip(90_000, threading.Event()))

    def interrupt(here, _total):
        if here >= 90_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(address, progress=interrupt, expected=Expected())
    assert not target.exists()
    assert part(target).read_bytes() == CONTENT[:90_000]
    get(address, expected=Expected())
    assert ranges(server) == [None, "bytes=90000-"]
    assert target.read_bytes() == CONTENT


def start(target, *addresses, expected=RIGHT):
    """Another process that downloads."""
    code = (
        "import sys, pathlib\n"
        "from bench import digests, download\n"
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


# Servers that fail.


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_final(server, fails, pauses, code):
    address = server.put("/w.pth", CONTENT, *[status(code)] * 9)
    assert f"{address} answers {code} " in fails(address)
    assert (server.count("/w.pth"), pauses) == (1, [])


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
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


# Files that are not the file.


def test_a_wrong_digest(server, fails, target):
    address = server.put("/w.pth", CONTENT)
    for wrong in ("0" * 64, "00000000"):
        assert f"expected SHA-256 {wrong}, found {HASH}" in fails(address, expected=Expected(wrong))
        assert not part(target).exists()


def test_a_wrong_size_is_refused_before_the_body(server, fails, target):
    address = server.put("/w.pth", CONTENT)
    message = fails(address, expected=Expected(size=5))
    assert f"has a file of {len(CONTENT)} bytes, not 5" in message
    assert not part(target).exists()


def test_a_body_shorter_than_announced(server, fails):
    address = server.put("/w.pth", b"", *[body(CONTENT[:-1], len(CONTENT))] * 99, etag=None)
    assert "broke off" in fails(address, expected=Expected())


def test_a_body_shorter_than_expected(server, fails):
    address = server.put("/w.pth", b"", *[body(CONTENT[:-1], None)] * 99)
    assert "ends after 299999 of 300000 bytes" in fails(address)


def test_a_body_longer_than_expected(server, fails, target):
    address = server.put("/w.pth", b"", body(CONTENT + b"more", None))
    assert "sends more than 300000 bytes" in fails(address)
    assert not part(target).exists()


def test_a_body_without_end_is_left(server, fails, target):
    sent = []

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        while len(sent) < 1000:
            handler.wfile.write(CONTENT)
            sent.append(len(CONTENT))

    message = fails(server.put("/w.pth", b"", endless))
    assert "sends more than 300000 bytes" in message
    assert len(sent) < 1000
    assert not part(target).exists()


def test_an_empty_body(server, get, fails, target):
    address = server.put("/w.pth", b"")
    assert "sends an empty file" in fails(address, expected=Expected())
    get(address, expected=Expected(size=0))
    assert target.read_bytes() == b""


def chunked(*pieces, whole=True):
    def act(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("ETag", '"1"')
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n" if whole else b"fff\r\nhal")
        handler.close_connection = True

    return act


def test_a_body_in_chunks(server, get, target):
    address = server.put("/w.pth", CONTENT, chunked(CONTENT[:70_000], CONTENT[70_000:]))
    get(address, expected=Expected())
    assert target.read_bytes() == CONTENT


def test_a_body_in_chunks_that_breaks_off(server, get, target):
    address = server.put("/w.pth", CONTENT[:70_000] + b"hal" + CONTENT[70_003:])
    server.scripts["/w.pth"] = [chunked(CONTENT[:70_000], whole=False)]
    get(address, expected=Expected())
    assert target.read_bytes() == server.files["/w.pth"].content
    assert len(server.asked) == 2


def test_a_packed_body(server, get, fails, target):
    packed = {"Content-Encoding": "gzip"}
    address = server.put("/w.pth", CONTENT, body(CONTENT, len(CONTENT), packed))
    assert "sends the file packed (gzip)" in fails(address)
    # The archives of some servers are announced so, and are the file itself.
    archive = target.with_name("a.tar.gz")
    address = server.put("/a.tar.gz", CONTENT, body(CONTENT, len(CONTENT), packed))
    download.download([address], archive, RIGHT)
    assert archive.read_bytes() == CONTENT


HTML = "<html><head><title>Sign\n in</title></head><body>please</body></html>"


@pytest.mark.parametrize(
    "act",
    [
        page(HTML),
        page("please <title>Sign in</title>"),
        body(HTML.encode(), len(HTML)),
        body(b"\xef\xbb\xbf\n <!DOCTYPE html>" + HTML.encode(), None),
    ],
)
def test_a_page_in_place_of_the_file(server, get, fails, target, act):
    address = server.put("/w.pth", CONTENT, act)
    message = fails(address, expected=Expected())
    assert "sends a web page in place of the file, titled 'Sign in'" in message
    assert not part(target).exists()
    server.put("/a.html", HTML.encode(), kind="text/html")
    download.download([server.root + "/a.html"], target.with_name("a.html"))
    assert target.with_name("a.html").read_text() == HTML


def test_the_rest_of_a_file_may_look_like_a_page(server, get, target):
    content = bytes(1000) + HTML.encode()
    address = server.put("/w.pth", content)
    put_part(target, bytes(1000), address=address, etag='"1"')
    get(address, expected=Expected())
    assert target.read_bytes() == content


def test_a_page_in_place_of_the_rest_keeps_the_part(server, fails, target):
    address = server.put("/w.pth", CONTENT, page(HTML))
    put_part(target, CONTENT[:5000], address=address, etag='"1"')
    assert "web page" in fails(address)
    assert part(target).read_bytes() == CONTENT[:5000]


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


# The disk.


def test_too_little_space_is_told_before_writing(server, get, fails, target, monkeypatch):
    usage = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    address = server.put("/w.pth", CONTENT)
    put_part(target, CONTENT[:100_000], address=address, etag='"1"')
    message = fails(address)
    assert re.search(
        r"not enough space for .*weights.pth: expected 64 MiB free, found 1 MiB", message
    )
    assert part(target).read_bytes() == CONTENT[:100_000]
    usage.free = 2**30
    monkeypatch.setattr(transfer, "MARGIN", 2**30 - 200_001)
    get(address)
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_replaced_makes_room(server, get, target, monkeypatch):
    put_part(target, bytes(200_000))
    usage = type("Usage", (), {"free": transfer.MARGIN + 100_000})
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    get(server.put("/w.pth", CONTENT), expected=Expected())
    assert target.read_bytes() == CONTENT


def test_the_bytes_are_on_the_disk_before_the_name(server, get, target, monkeypatch):
    seen, fsync = [], os.fsync

    def noted(number):
        seen.append((target.exists(), os.fstat(number).st_size))
        fsync(number)

    monkeypatch.setattr(os, "fsync", noted)
    get(server.put("/w.pth", CONTENT))
    assert seen == [(False, len(CONTENT))]


def test_a_write_that_fails_keeps_what_came(server, get, fails, target):
    """A limit on the size of files makes the write itself fail, as a full disk does."""
    address = server.put("/w.pth", CONTENT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        message = fails(address, expected=Expected())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert re.search(r"cannot write .*weights.pth: found File too large; free some space", message)
    assert part(target).read_bytes() == CONTENT[:100_000]
    assert len(server.asked) == 1  # no mirror can help
    get(address, expected=Expected())
    assert ranges(server) == [None, "bytes=100000-"]
    assert target.read_bytes() == CONTENT


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(server, small_disk, monkeypatch):
    target = small_disk / "weights.pth"
    address = server.put("/w.pth", CONTENT, says_length=False)
    monkeypatch.setattr(transfer, "MARGIN", 0)
    with pytest.raises(BenchError, match=r"cannot write .*: found No space left on device"):
        download.download([address], target)
    assert not target.exists()
    kept = part(target).read_bytes()
    assert kept
    assert kept == CONTENT[: len(kept)]
    with pytest.raises(BenchError, match=r"not enough space for"):
        download.download([server.put("/w.pth", CONTENT)], target)


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    address = server.put("/w.pth", CONTENT)
    with pytest.raises(BenchError, match=r"cannot write .*weights.pth.*; choose another folder"):
        download.download([address], tmp_path / "file" / "weights.pth")
    assert server.asked == []


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
