"""A web server on loopback that serves files and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit


@dataclass
class File:
    """What lies at a path: its content and what its server says of it."""

    content: bytes
    etag: str | None = '"1"'
    modified: str | None = None
    ranges: bool = True
    kind: str = "application/octet-stream"
    says_length: bool = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append((self.path, dict(self.headers)))
        scripted = self.server.scripts[path]
        if scripted:
            scripted.pop(0)(self)
        elif path in self.server.files:
            self.serve(self.server.files[path])
        else:
            self.answer(404)

    def serve(self, file: File, *, stop_after: int | None = None) -> None:
        """The file, or the range of it that is asked for; cut off after so many bytes."""
        start = self.range_start(file)
        if start is not None and start >= len(file.content):
            self.answer(416, {"Content-Range": f"bytes */{len(file.content)}"})
            return
        body = file.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        if start is not None:
            last = len(file.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(file.content)}")
        for name, value in (("ETag", file.etag), ("Last-Modified", file.modified)):
            if value:
                self.send_header(name, value)
        self.send_header("Content-Type", file.kind)
        if file.says_length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body if stop_after is None else body[: max(0, stop_after - (start or 0))])
        if stop_after is not None:
            self.close_connection = True

    def range_start(self, file: File) -> int | None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if not asked or not file.ranges or condition not in {None, file.etag, file.modified}:
            return None
        return int(asked[1])

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


Act = Callable[[Handler], None]


class Server(ThreadingHTTPServer):
    """`files` by path; `scripts` by path: what the next requests meet before the file is served."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tls = tls
        self.files: dict[str, File] = {}
        self.scripts: defaultdict[str, list[Act]] = defaultdict(list)
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def root(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.server_address[1]}"

    def put(self, path: str, content: bytes, *acts: Act, **about: object) -> str:
        """Puts a file there, after the acts; gives its address."""
        self.files[path] = File(content, **about)
        self.scripts[path] = list(acts)
        return self.root + path

    def count(self, path: str) -> int:
        return sum(urlsplit(asked).path == path for asked, _ in self.asked)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def finish_request(self, request: socket.socket, client_address: object) -> None:
        """Encrypts in the thread of the request, so that a bad handshake stops no other."""
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with self.tls.wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)

    def handle_error(self, *_: object) -> None:
        pass  # clients that hang up are what the tests are about


def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Act:
    return lambda handler: handler.answer(code, headers, body)


def redirect(to: str, code: int = 302) -> Act:
    return status(code, {"Location": to})


def page(html: str, code: int = 200) -> Act:
    return status(code, {"Content-Type": "text/html; charset=utf-8"}, html.encode())


def hang_up(handler: Handler) -> None:
    """No answer at all."""
    handler.close_connection = True


def cut(after: int) -> Act:
    """The file, until so many bytes of it; then the connection ends."""
    return lambda handler: handler.serve(
        handler.server.files[urlsplit(handler.path).path], stop_after=after
    )


def reset(after: int) -> Act:
    """The same, with a connection that is reset."""

    def act(handler: Handler) -> None:
        handler.serve(handler.server.files[urlsplit(handler.path).path], stop_after=after)
        handler.wfile.flush()
        time.sleep(0.05)
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    return act


def drip(after: int, gate: threading.Event) -> Act:
    """So many bytes, then nothing until the gate opens."""

    def act(handler: Handler) -> None:
        file = handler.server.files[urlsplit(handler.path).path]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(file.content)))
        if file.etag:
            handler.send_header("ETag", file.etag)
        handler.end_headers()
        handler.wfile.write(file.content[:after])
        handler.wfile.flush()
        gate.wait(30)
        handler.wfile.write(file.content[after:])

    return act


def body(content: bytes, length: int | None, headers: dict[str, str] | None = None) -> Act:
    """A body that is announced as `length` bytes, whatever it is; None announces nothing."""

    def act(handler: Handler) -> None:
        handler.send_response(200)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.close_connection = True
        handler.wfile.write(content)

    return act


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
