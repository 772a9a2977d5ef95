"""Google Drive, played by a server on loopback; its pages are cut down to what is read of them."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit, urlunsplit

import pytest
import requests
from web_server import Server, cut, hang_up, page, redirect, sha256, status

from bench.errors import BenchError
from bench.fetching import addresses, download, drive
from bench.fetching.digests import Expected

CONTENT = b"weights" * 9999
RIGHT = Expected(sha256(CONTENT))
FILE = "1Az_AmXGKtWGrNRaCqo6y4m4pG3kpqXAB"
FOLDER = "1Fv_EDVR_folder_of_models_0123456"
DEEPER = "1Fv_EDVR_folder_in_that_0123456789"
VIEW = f"https://drive.google.com/file/d/{FILE}/view"
CONFIRM = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head>
<body><p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<form action="/search"><input type="hidden" name="q" value="not this"></form>
<form id="download-form" action="{action}" method="get">
<input type="submit" id="uc-download-link" value="Download anyway"/>
<input type="hidden" name="id" value="{file}"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"/><input type="hidden" name="uuid" value="a&amp;b">
</form><input type="hidden" name="not" value="this"></body></html>"""
QUOTA = """<!DOCTYPE html><html><head><title>Google Drive - {title}</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">{text}</p></body></html>"""
QUOTAS = [
    QUOTA.format(title="Quota exceeded", text="Please try again later."),
    QUOTA.format(title="Error", text="Too many users have viewed\n or downloaded this file."),
]


@pytest.fixture
def server(monkeypatch):
    """Loopback in the place of Google's hosts, whichever library asks."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    send = requests.adapters.HTTPAdapter.send
    with Server() as server:
        here = urlsplit(server.root)

        def rerouted(self, request, *args, **kwargs):
            parts = urlsplit(request.url)
            assert parts.hostname.endswith("google.com")
            request.url = urlunsplit(parts._replace(scheme="http", netloc=here.netloc))
            response = send(self, request, *args, **kwargs)
            response.url = urlunsplit(parts)
            return response

        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", rerouted)
        yield server


@pytest.fixture
def get(tmp_path):
    def run(*written, expected=RIGHT):
        target = tmp_path / "EDVR.pth"
        return download.download(written, target, expected, pause=lambda _: None)

    return run


@pytest.fixture
def fails(get, tmp_path):
    def run(*written, **options):
        with pytest.raises(BenchError) as caught:
            get(*written, **options)
        assert not (tmp_path / "EDVR.pth").exists()
        return str(caught.value)

    return run


def test_a_page_of_a_file_leads_to_the_file(server, get):
    server.put("/download", CONTENT)
    assert get(VIEW + "?usp=sharing").path.read_bytes() == CONTENT
    asked = urlsplit(server.asked[0][0])
    assert asked.path == "/download"
    assert parse_qs(asked.query)["id"] == [FILE]


@pytest.mark.parametrize(
    "action", ["https://drive.usercontent.google.com/download", "/download?authuser=0"]
)
def test_the_question_about_viruses_is_answered(server, get, action):
    server.put("/download", CONTENT, page(CONFIRM.format(action=action, file=FILE)))
    assert get(VIEW).path.read_bytes() == CONTENT
    query = parse_qs(urlsplit(server.asked[1][0]).query)
    assert query.pop("authuser", ["0"]) == ["0"]
    assert query == {"id": [FILE], "export": ["download"], "confirm": ["t"], "uuid": ["a&b"]}


def test_a_confirmed_download_is_resumed(server, get):
    question = page(CONFIRM.format(action="/download", file=FILE))
    server.put("/download", CONTENT, question, cut(20_000), question)
    assert get(VIEW).path.read_bytes() == CONTENT
    assert [headers.get("Range") for _, headers in server.asked] == [
        None,
        None,
        "bytes=20000-",
        "bytes=20000-",
    ]


def test_a_question_without_end(server, fails):
    server.put("/download", CONTENT, *[page(CONFIRM.format(action="", file=FILE))] * 99)
    assert "asks for confirmation again and again" in fails(VIEW)
    assert len(server.asked) == 3


@pytest.mark.parametrize("action", ["http://drive.google.com/download", "file:///etc/passwd"])
def test_a_question_that_leads_astray(server, fails, action):
    server.put("/download", CONTENT, page(CONFIRM.format(action=action, file=FILE)))
    assert "titled 'Google Drive - Virus scan warning'" in fails(VIEW)
    assert len(server.asked) == 1


@pytest.mark.parametrize("text", QUOTAS)
@pytest.mark.parametrize("code", [200, 403, 429])
def test_a_used_up_quota_is_explained(server, fails, text, code):
    server.put("/download", CONTENT, page(text, code))
    message = fails(VIEW)
    assert "Google Drive's download quota of the file is used up" in message
    assert message.endswith(f"open {VIEW} in a browser, then `bench add FILE`")
    assert len(server.asked) == 1


def test_after_a_used_up_quota_comes_the_next_mirror(server, get):
    server.put("/download", CONTENT, page(QUOTAS[0]))
    server.put("/uc", CONTENT)
    assert get(VIEW, "https://docs.google.com/uc").address == "https://docs.google.com/uc"


def test_only_google_drive_is_asked_to_confirm(server, fails):
    address = server.put("/w.pth", CONTENT, page(CONFIRM.format(action="/w.pth", file=FILE)))
    other = "https://example.google.com/w.pth"
    assert "sends a web page in place of the file" in fails(other)
    server.put("/w.pth", CONTENT, page(QUOTAS[0]))
    assert "titled 'Google Drive - Quota exceeded'" in fails(other)
    assert address.endswith("/w.pth")


def test_a_page_that_asks_to_sign_in(server, fails):
    server.put("/download", b"", redirect("https://accounts.google.com/ServiceLogin?token=S3"))
    server.put("/ServiceLogin", b"", page("<title>Sign in</title>"))
    message = fails(VIEW)
    assert "sends a web page in place of the file, titled 'Sign in'" in message
    assert "S3" not in message


def test_a_file_that_is_gone(server, fails):
    server.put("/download", b"", page("<title>Error 404 (Not Found)!!1</title>", 404))
    assert "answers 404 Not Found" in fails(VIEW)


def test_a_mirror_of_google_drive_may_ask_too(server, get, monkeypatch):
    mirror = "https://drive.mirror.google.com/"
    monkeypatch.setenv("BENCH_MIRRORS", f"https://drive.usercontent.google.com/={mirror}")
    server.put("/download", CONTENT, page(CONFIRM.format(action="/download", file=FILE)))
    assert get(VIEW).address.startswith(mirror)


# Folders.

README = FILE[::-1]
FOLDERS = {
    FOLDER: ("EDVR models", {"README.md": README, "EDVR M.pth": FILE, "old": DEEPER}),
    DEEPER: ("old", {"notes.txt": README, "first.pth": FILE, "EDVR M.pth": README}),
}


def embedded(title, entries):
    """The page of a folder that gdown 6 reads."""
    where = {name: "drive/folders" if key == DEEPER else "file/d" for name, key in entries.items()}
    anchors = "".join(
        f'<a href="https://drive.google.com/{where[name]}/{key}{"" if key == DEEPER else "/view"}">'
        f"<div>{name}</div></a>"
        for name, key in entries.items()
    )
    return f"<html><head><title>{title}</title></head><body>{anchors}</body></html>"


def scripted(title, entries):
    """The page of a folder that gdown 5 reads."""
    kinds = dict.fromkeys(entries.values(), "octet-stream")
    kinds[DEEPER] = "vnd.google-apps.folder"
    rows = [[key, [""], name, f"application/{kinds[key]}"] for name, key in entries.items()]
    data = "".join(f"\\x{ord(letter):02x}" for letter in json.dumps([rows]))
    return (
        f"<html><head><title>{title} - Google Drive</title></head>"
        f"<script>window['_DRIVE_ivd'] = '{data}';</script></html>"
    )


@pytest.fixture
def folder(server):
    """A folder with another in it, and the content of the file that is meant."""
    for key, (title, entries) in FOLDERS.items():
        page_of_it = page(scripted(title, entries))
        server.scripts[f"/drive/folders/{key}"] = [page_of_it] * 9

    def act(handler):
        key = parse_qs(urlsplit(handler.path).query)["id"][0]
        page(embedded(*FOLDERS[key]))(handler)

    server.scripts["/embeddedfolderview"] = [act] * 9
    server.put("/download", CONTENT)
    return server


@pytest.mark.parametrize("name", ["EDVR%20M.pth", "EDVR M.pth", "old/first.pth", "first.pth"])
def test_a_file_of_a_folder(folder, get, name):
    written = f"https://drive.google.com/drive/folders/{FOLDER}#{name}"
    arrived = get(written)
    assert arrived.path.read_bytes() == CONTENT
    assert arrived.address == addresses.printable(written)
    asked = [urlsplit(path) for path, _ in folder.asked]
    assert [parts.path for parts in asked].count("/download") == 1
    assert parse_qs(asked[-1].query)["id"] == [FILE]


def test_the_path_counts_before_the_name(folder):
    for name, key in (("EDVR M.pth", FILE), ("old/EDVR M.pth", README)):
        found = drive.in_folder(f"https://drive.google.com/drive/folders/{FOLDER}#{name}", 5)
        assert f"id={key}" in found


def test_a_name_that_the_folder_does_not_hold(folder, fails):
    written = f"https://drive.google.com/drive/folders/{FOLDER}#EDVR_L.pth"
    message = fails(written)
    held = "EDVR M.pth, README.md, old/EDVR M.pth, old/first.pth, old/notes.txt"
    assert f"{written} holds no file 'EDVR_L.pth' but {held}; mend the name" in message
    assert len(folder.asked) == 2


def test_a_folder_address_without_a_name(server, fails):
    address = f"https://drive.google.com/drive/folders/{FOLDER}"
    assert "which file of the Google Drive folder" in fails(address)
    assert server.asked == []


@pytest.mark.parametrize("act", [status(404), page("<html>nothing</html>")])
def test_a_folder_that_cannot_be_listed(server, fails, act):
    address = f"https://drive.google.com/drive/folders/{FOLDER}"
    for path in ("/embeddedfolderview", f"/drive/folders/{FOLDER}"):
        server.scripts[path] = [act] * 9
    message = fails(f"{address}#a.pth")
    assert f"{address}#a.pth cannot be listed (" in message
    assert message.endswith(f"open {address} in a browser, then `bench add FILE`")


def test_a_folder_whose_server_hangs_up_is_asked_again(folder, get):
    folder.scripts["/embeddedfolderview"].insert(0, hang_up)
    folder.scripts[f"/drive/folders/{FOLDER}"].insert(0, hang_up)
    get(f"https://drive.google.com/drive/folders/{FOLDER}#first.pth")
    assert folder.count("/download") == 1


# Pages.


def test_a_page_is_read_however_badly_it_is_written():
    assert drive.read_page("https://a/b", "") == drive.Page("", None, False)
    broken = drive.read_page("https://a/b", "<title>Oh\n no<form id=download-form action=c><input")
    assert broken.title.startswith("Oh no")
    assert drive.read_page("https://a/b", "<p>quota EXCEEDED</p>").quota
    assert drive.read_page("https://a/b", "<title>Oh</title><![odd[<p>").title == "Oh"
    nowhere = CONFIRM.format(action="https://[half", file="F")
    assert drive.read_page("https://a/b", nowhere).confirm is None
    assert drive.read_page("https://a/b", "x<b>" * 250_000).title == ""  # and that at once


def test_the_address_to_confirm_keeps_its_own_query():
    text = CONFIRM.format(action="https://x/y?z=1&amp;id=other", file="F")
    confirm = drive.read_page("https://a/b", text).confirm
    assert re.fullmatch(r"https://x/y\?z=1&id=F&export=download&confirm=t&uuid=a%26b", confirm)
