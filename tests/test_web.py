"""What the tests of downloads do not reach: encryption, odd errors, odd headers."""

from __future__ import annotations

import shutil
import ssl
import subprocess

import pytest
import requests
from web_server import Server, redirect, status

from bench.fetching import web


@pytest.fixture
def session():
    with web.session() as made:
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that nobody has signed."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    files = ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=digitalSignature"]
    subprocess.run([*words.split(), *files, *names], check=True, capture_output=True)
    return folder


@pytest.fixture
def secure(certificate, monkeypatch):
    """A server with TLS."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    server = Server(context)
    with server:
        yield server


def test_a_certificate_that_nobody_signed_is_not_trusted(secure, session):
    address = secure.put("/w.pth", b"content")
    with (
        pytest.raises(web.Fault, match="its TLS certificate is not trusted") as caught,
        web.ask(session, address, {}),
    ):
        pass
    assert not caught.value.again
    assert secure.asked == []


def test_encryption_is_never_left(secure, session, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "certificate.pem"))
    address = secure.put("/w.pth", b"content")
    with web.ask(session, address, {}) as response:
        assert b"".join(web.chunks(response)) == b"content"
    with Server() as plain:
        away = secure.put("/away", b"", redirect(plain.put("/w.pth", b"content")))
        with (
            pytest.raises(web.Fault, match=r"redirects to http://127.*, which is not followed"),
            web.ask(session, away, {}),
        ):
            pass
        assert plain.asked == []
        plain.put("/w.pth", b"", redirect(address))
        with web.ask(session, plain.root + "/w.pth", {}) as response:
            assert b"".join(web.chunks(response)) == b"content"


@pytest.mark.parametrize(
    ("error", "words", "again"),
    [
        (requests.exceptions.SSLError("EOF occurred in violation of protocol"), "connection", True),
        (requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"), "not trusted", False),
        (requests.exceptions.ConnectTimeout("token=1"), "no answer in time", True),
        (requests.exceptions.ProxyError("token=1"), "the proxy", True),
        (requests.exceptions.InvalidURL("token=1"), "is no web address", False),
        (requests.exceptions.ConnectionError("token=1"), "no connection", True),
    ],
)
def test_errors_are_told_in_our_words(error, words, again):
    fault = web.unreachable(error)
    assert words in str(fault)
    assert "token" not in str(fault)
    assert fault.again is again


def test_the_body_of_a_redirect_is_not_read(session, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        server.put("/w.pth", b"content")
        endless = {"Location": "/w.pth", "Content-Length": str(2**50)}
        server.put("/away", b"", status(302, endless))
        with web.ask(session, server.root + "/away", {}) as response:
            assert b"".join(web.chunks(response)) == b"content"


def test_a_status_that_has_no_name(session, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        server.put("/w.pth", b"", lambda handler: handler.answer(599))
        with (
            web.ask(session, server.root + "/w.pth", {}) as response,
            pytest.raises(web.Fault, match="answers 599"),
        ):
            web.check_status(response)
