from __future__ import annotations

import threading

import pytest
from downloads import CONTENT, HASH, HTML, RIGHT, part, put_part, ranges
from web_server import File, body, cut, drip, page, reset, status

from bench.fetching import download
from bench.fetching.digests import Expected

pytest_plugins = ["download_fixtures"]


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
