"""Fetching: what is allowed, how much, how long; and no way to a private address."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from operators.media_fetch import Fetched, Fetcher
from operators.media_http import allowed
from schemas.media_job import FetchPart
from tests.media_kit import photo, saved
from udfs.media_image import MediaError

PNG = saved(photo(64, 48))
HERE = ("127.0.0.0/8",)


class Pages(BaseHTTPRequestHandler):
    """A host that behaves as the path says."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str]] = []  # noqa: RUF012 - one list for all requests of a test

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        return

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Host", "")))
        name = self.path.strip("/").partition("?")[0]
        getattr(self, f"page_{name.replace('.', '_').replace('-', '_')}", self.page_missing)()

    def answer(self, body: bytes, **headers: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def go_to(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def page_missing(self) -> None:
        self.send_error(404)

    def page_a_png(self) -> None:
        self.answer(PNG, Content_Type="image/png")

    def page_html(self) -> None:
        self.answer(PNG, Content_Type="text/html")

    def page_broken(self) -> None:
        self.send_error(500)

    def page_zipped(self) -> None:
        self.answer(PNG, Content_Encoding="gzip")

    def page_empty(self) -> None:
        self.answer(b"")

    def page_large(self) -> None:
        self.answer(PNG + bytes(3 << 20))

    def page_endless(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"10000\r\n" + bytes(65_536) + b"\r\n")

    def page_short(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PNG) + 1))
        self.end_headers()
        self.wfile.write(PNG)
        self.close_connection = True

    def page_drip_body(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def page_drip_header(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(100):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def page_silent(self) -> None:
        time.sleep(3)

    def page_nonsense(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.close_connection = True

    def page_redirect(self) -> None:
        self.go_to("/a.png")

    def page_loop(self) -> None:
        self.go_to("/loop")

    def page_to_private(self) -> None:
        self.go_to("http://10.0.0.1/a.png")

    def page_to_metadata(self) -> None:
        self.go_to("http://169.254.169.254/latest/meta-data/")

    def page_to_file(self) -> None:
        self.go_to("file:///etc/passwd")

    def page_to_nowhere(self) -> None:
        self.go_to("http://[::bad")


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as one:
        one.handle_error = lambda *_: None  # type: ignore[method-assign] # who hangs up is no news
        one.daemon_threads = True
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one
        one.shutdown()


Get = Callable[..., Fetched]


@pytest.fixture
def get(server: ThreadingHTTPServer) -> Get:
    """Fetch a page of the server, with settings of one's own."""
    Pages.asked.clear()
    port = server.server_address[1]

    def fetch(page: str, resolver: Any = None, **part: Any) -> Fetched:
        fields = {"networks": HERE, "ports": (port,), "timeout_s": 0.6, "image_mb": 1, **part}
        fetcher = Fetcher(FetchPart(**fields), *([resolver] if resolver else []))
        address = page if "://" in page else f"http://127.0.0.1:{port}/{page}"
        return fetcher.fetch(address.replace("PORT", str(port)), video=False)

    return fetch


def why(call: Callable[..., Fetched], address: str = "", **options: Any) -> MediaError:
    with pytest.raises(MediaError) as caught:
        (call(address, **options) if address else call()).close()
    return caught.value


def test_what_is_fetched_is_hashed_and_identified(get: Get) -> None:
    fetched = get("a.png")
    assert fetched.format is not None
    assert (fetched.format.name, fetched.size) == ("png", len(PNG))
    assert fetched.hashes.sha256 == hashlib.sha256(PNG).hexdigest()
    assert fetched.hashes.md5 == hashlib.md5(PNG, usedforsecurity=False).hexdigest()
    assert os.pread(fetched.file.fileno(), 1 << 20, 0) == PNG
    assert not fetched.extension_differs
    fetched.close()


def test_redirects_are_followed_and_the_declared_type_is_compared(get: Get) -> None:
    fetched = get("redirect")
    assert fetched.size == len(PNG)
    fetched.close()
    other = get("html")
    assert other.extension_differs
    other.close()


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("there-is-none", "not_found"),
        ("broken", "unreachable"),
        ("zipped", "unreachable"),
        ("nonsense", "unreachable"),
        ("short", "unreachable"),
        ("empty", "empty"),
        ("large", "too_large"),
        ("endless", "too_large"),
        ("drip-body", "timeout"),
        ("drip-header", "timeout"),
        ("silent", "timeout"),
        ("loop", "refused"),
        ("to-private", "refused"),
        ("to-metadata", "refused"),
        ("to-file", "refused"),
        ("to-nowhere", "refused"),
    ],
)
def test_what_a_host_does_wrong_has_a_kind(get: Get, page: str, kind: str) -> None:
    began = time.monotonic()
    error = why(lambda: get(page))
    assert error.kind == kind, error.message
    assert time.monotonic() - began < 2.5
    if kind in {"too_large", "timeout"}:
        assert error.limit.startswith("fetch.")


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:PORT/a.png",
        "http://localhost:PORT/a.png",
        "http://2130706433:PORT/a.png",
        "http://0x7f.1:PORT/a.png",
        "http://[::1]:PORT/a.png",
        "http://[::ffff:127.0.0.1]:PORT/a.png",
        "http://0.0.0.0:PORT/a.png",
        "http://user:password@127.0.0.1:PORT/a.png",
    ],
)
def test_private_addresses_are_refused_however_they_are_written(get: Get, address: str) -> None:
    assert why(lambda: get(address, networks=())).kind in {"refused", "unreachable"}
    assert not Pages.asked


def test_a_name_is_resolved_once_and_every_address_is_checked(get: Get) -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    names: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        names.append(host)
        return answers[min(len(names) - 1, 1)]

    fetched = get("http://media.example:PORT/a.png", rebinding)
    assert names == ["media.example"]
    assert Pages.asked[0][1].startswith("media.example:")
    fetched.close()
    # A redirect is a new name, and checked anew.
    names.clear()
    assert why(lambda: get("http://media.example:PORT/redirect", rebinding)).kind == "refused"
    assert names == ["media.example"] * 2

    def mixed(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "192.168.0.1"]

    assert why(lambda: get("http://media.example:PORT/a.png", mixed)).kind == "refused"


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True),
        ("10.0.0.1", False), ("172.16.0.1", False), ("192.168.1.1", False), ("127.1.2.3", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.1.2.3", False),
        ("224.0.0.1", False), ("255.255.255.255", False), ("192.0.2.1", False),
        ("::1", False), ("::", False), ("fe80::1%eth0", False), ("fc00::1", False),
        ("ff02::1", False), ("::ffff:10.0.0.1", False), ("::10.0.0.1", False),
        ("64:ff9b::10.0.0.1", False), ("2002:0a00:0001::1", False), ("2001:0:1::1", False),
        ("media.example", False), ("", False),
    ],
)  # fmt: skip
def test_only_public_addresses_are_fetched_from(address: str, fine: bool) -> None:
    assert allowed(address, ()) is fine
    assert not allowed("10.0.0.1", ("10.1.0.0/16",))
    assert allowed("10.1.2.3", ("10.1.0.0/16",))
    assert allowed("::ffff:10.1.2.3", ("10.1.0.0/16",))


def test_other_ports_and_schemes_are_refused(get: Get) -> None:
    assert "port" in why(lambda: get("http://127.0.0.1:1/a.png")).message
    for address in ("ftp://x/a", "gopher://x/a", "/etc/passwd", "", "javascript:alert(1)",
                    "http://", "http:///a", "http://[::1"):  # fmt: skip
        error = why(Fetcher(FetchPart()).fetch, address or " ", video=False)
        assert error.kind == "refused", address


def test_nobody_listening_is_unreachable() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    part = FetchPart(networks=HERE, ports=(port,), timeout_s=1)
    fetcher = Fetcher(part)
    assert (
        why(lambda: fetcher.fetch(f"http://127.0.0.1:{port}/", video=False)).kind == "unreachable"
    )

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror

    fetcher = Fetcher(FetchPart(), unknown)
    assert why(lambda: fetcher.fetch("http://media.example/", video=False)).kind == "unreachable"


def test_files_are_read_from_allowed_folders_alone(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a b.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(inside / "pipe")
    fetcher = Fetcher(FetchPart(folders=(inside,), image_mb=1))

    def fetch(address: str) -> Fetched:
        return fetcher.fetch(address, video=False)

    fetched = fetch(f"file://{inside}/a%20b.png")
    assert fetched.size == len(PNG)
    fetched.close()
    wrong = {
        f"file://{tmp_path}/secret.png": "refused",
        f"file://{inside}/../secret.png": "refused",
        f"file://{inside}/%2e%2e/secret.png": "refused",
        f"file://{inside}/link.png": "refused",
        f"file://{inside}/pipe": "refused",
        f"file://{inside}": "refused",
        f"file://elsewhere{inside}/a%20b.png": "refused",
        f"file://{inside}/a%00.png": "refused",
        f"file://{inside}/none.png": "not_found",
        "file:///dev/zero": "refused",
        "file://[": "refused",
    }
    assert {address: why(fetch, address).kind for address in wrong} == wrong
    assert why(lambda: Fetcher(FetchPart()).fetch(f"file://{inside}/a%20b.png", video=False)).kind
    (inside / "large.png").write_bytes(bytes(2 << 20))
    assert why(lambda: fetch(f"file://{inside}/large.png")).kind == "too_large"


def test_small_media_may_stand_in_the_upload() -> None:
    fetcher = Fetcher(FetchPart())
    coded = base64.b64encode(PNG).decode()
    fetched = fetcher.fetch(f"data:image/png;base64,{coded}", video=False)
    assert (fetched.size, fetched.extension_differs) == (len(PNG), False)
    fetched.close()
    other = fetcher.fetch(f"data:image/jpeg;base64,{coded}", video=False)
    assert other.extension_differs
    other.close()
    for address, kind in {
        "data:image/png;base64,": "empty",
        "data:image/png;base64": "malformed",
        "data:image/png;base64,%%%": "malformed",
        "data:,": "empty",
    }.items():
        assert why(fetcher.fetch, address, video=False).kind == kind, address
    closed = Fetcher(FetchPart(inline=False))
    assert why(lambda: closed.fetch(f"data:image/png;base64,{coded}", video=False)).limit


class Objects(BaseHTTPRequestHandler):
    """As much of S3 as is needed to read one object."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        return

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        there = self.path.partition("?")[0] == "/media/folder/a.png"
        content = PNG if there else b""
        self.send_response(200 if there else 404)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if body:
            self.wfile.write(content)


def test_objects_are_read_from_allowed_buckets_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Objects) as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{store.server_address[1]}"
        fetcher = Fetcher(FetchPart(buckets=("media",), s3_endpoint=endpoint, timeout_s=5))
        fetched = fetcher.fetch("s3://media/folder/a.png", video=False)
        assert fetched.hashes.sha256 == hashlib.sha256(PNG).hexdigest()
        fetched.close()
        missing = "s3://media/folder/none.png"
        assert why(lambda: fetcher.fetch(missing, video=False)).kind == "not_found"
        for address in ("s3://private/a.png", "s3://media", "s3://", "s3:///a"):
            assert why(fetcher.fetch, address, video=False).kind == "refused"
        store.shutdown()
