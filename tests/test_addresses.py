from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.fetching import addresses
from bench.fetching.addresses import Source

ID = "1ZuvNNLgR85TV_whJoHM7uVb-XW1y70DW"
DRIVE = f"https://drive.usercontent.google.com/download?id={ID}&export=download&confirm=t"
SECRET = st.text("abcdefXYZ0123456789", min_size=12)


@given(SECRET, SECRET, st.sampled_from(["token", "sig", "X-Amz-Signature", "key", "Authorization"]))
def test_no_secret_is_printed(secret, other, name):
    address = f"https://me:{secret}@example.org:8443/a/b.zip?id=7&{name}={other}#access={secret}"
    shown = addresses.printable(address)
    assert secret not in shown
    assert other not in shown
    assert shown == f"https://example.org:8443/a/b.zip?id=7&{name}=***#***"


def test_a_printed_address_is_printed_the_same():
    once = addresses.printable("https://a:b@example.org/x y?token=1&id=2")
    assert addresses.printable(once) == once
    plain = "https://drive.google.com/drive/folders/abc#EDVR/x.pth"
    assert addresses.printable(plain) == plain
    for slip in ("me:pass@example.org/a", "https:/me:pass@example.org/a", "//me:pass@example.org"):
        assert "pass" not in addresses.printable(slip)
    assert addresses.printable("https://example.org/a@b") == "https://example.org/a@b"
    assert addresses.printable("https://[half") == "an address that cannot be read"


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("https://example.org/a.pth", "https://example.org/a.pth"),
        (
            "https://github.com/yhjo09/VSR-DUF/blob/0a1b/inputs/G/a%20b.png",
            "https://raw.githubusercontent.com/yhjo09/VSR-DUF/0a1b/inputs/G/a%20b.png",
        ),
        (
            "https://github.com/xinntao/EDVR/releases/download/v1/a.pth",
            "https://github.com/xinntao/EDVR/releases/download/v1/a.pth",
        ),
        (f"https://drive.google.com/file/d/{ID}/view?usp=sharing", DRIVE),
        (f"https://drive.google.com/file/d/{ID}", DRIVE),
        (f"https://drive.google.com/file/u/1/d/{ID}/edit", DRIVE),
        (f"https://drive.google.com/uc?export=download&id={ID}", DRIVE),
        (f"https://drive.google.com/open?id={ID}", DRIVE),
        (
            f"https://drive.google.com/file/d/{ID}/view?resourcekey=0-x",
            DRIVE + "&resourcekey=0-x",
        ),
    ],
)
def test_a_page_of_a_file_becomes_the_address_of_the_file(written, asked):
    assert addresses.sources(written) == [Source(asked, written, drive="google.com" in asked)]


@pytest.mark.parametrize("bad", ["ftp://example.org/a", "a.pth", "", "https:///a", "http://[x/a"])
def test_what_is_no_web_address_is_refused(bad):
    with pytest.raises(BenchError, match="not a web address: expected https://HOST/PATH"):
        addresses.sources(bad)


def test_a_folder_is_listed_first():
    written = f"https://drive.google.com/drive/folders/{ID}#models/EDVR%20M.pth"
    assert addresses.sources(written) == [Source(written, written, drive=True, folder=True)]
    assert addresses.folder_entry(written) == (ID, "models/EDVR M.pth")
    for nameless in (f"https://drive.google.com/drive/folders/{ID}", written.replace(ID, "")):
        with pytest.raises(BenchError, match=r"which file .* is meant.*; add #NAME"):
            addresses.sources(nameless)


def test_mirrors_come_first_and_in_order(monkeypatch):
    monkeypatch.setenv(
        "BENCH_MIRRORS",
        "https://example.org/=http://one/x/, https://example.org/a=https://two/,http://z/=http://y/",
    )
    written = "https://example.org/a/b.pth?id=1"
    assert [source.address for source in addresses.sources(written)] == [
        "http://one/x/a/b.pth?id=1",
        "https://two//b.pth?id=1",
        written,
    ]


def test_mirrors_of_what_a_page_stands_for(monkeypatch):
    monkeypatch.setenv(
        "BENCH_MIRRORS",
        "https://raw.githubusercontent.com/=http://raw/,https://github.com/=http://pages/,"
        "https://drive.google.com/=http://drive/,"
        "https://drive.usercontent.google.com/=http://content/",
    )
    written = "https://github.com/o/r/blob/c/a.pth"
    assert [source.address for source in addresses.sources(written)] == [
        "http://pages/o/r/blob/c/a.pth",
        "http://raw/o/r/c/a.pth",
        "https://raw.githubusercontent.com/o/r/c/a.pth",
    ]
    written = f"https://drive.google.com/file/d/{ID}/view"
    assert addresses.sources(written) == [
        Source(f"http://drive/file/d/{ID}/view", written, drive=True),
        Source(
            DRIVE.replace("https://drive.usercontent.google.com", "http://content"), written, True
        ),
        Source(DRIVE, written, drive=True),
    ]


def test_a_mirror_of_a_folder_is_a_tree(monkeypatch):
    monkeypatch.setenv("BENCH_MIRRORS", "https://drive.google.com/drive/folders/=http://m/")
    written = f"https://drive.google.com/drive/folders/{ID}#models/a.pth"
    assert addresses.sources(written) == [
        Source(f"http://m/{ID}/models/a.pth", written),
        Source(written, written, drive=True, folder=True),
    ]


@pytest.mark.parametrize("bad", ["here", "https://a/", "https://a/=", "https://a/=ftp://b/", "=x"])
def test_malformed_mirrors(monkeypatch, bad):
    monkeypatch.setenv("BENCH_MIRRORS", "http://a/=http://b/," + bad)
    with pytest.raises(BenchError, match="BENCH_MIRRORS is malformed: expected FROM=TO"):
        addresses.sources("https://example.org/a")


def test_malformed_mirrors_keep_their_secrets(monkeypatch):
    monkeypatch.setenv("BENCH_MIRRORS", "https://me:secret@a/=ftp://me:secret@b/")
    with pytest.raises(BenchError) as caught:
        addresses.sources("https://example.org/a")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "location", "onward"),
    [
        ("http://a/x", "http://b/y", "http://b/y"),
        ("http://a/x", "https://b/y", "https://b/y"),
        ("https://a/x", "https://b/y", "https://b/y"),
        ("https://a/x/y", "../z", "https://a/z"),
        ("https://a/x", "//b/z", "https://b/z"),
        ("https://a/x", "http://b/y", None),
        ("http://a/x", "file:///etc/passwd", None),
        ("https://a/x", "ftp://b/y", None),
        ("http://a/x", "data:text/plain,hi", None),
        ("http://a/x", "javascript:alert(1)", None),
        ("http://a/x", "http://[half", None),
    ],
)
def test_where_redirects_may_lead(address, location, onward):
    assert addresses.next_hop(address, location) == onward
