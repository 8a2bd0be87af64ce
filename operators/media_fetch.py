"""Getting the bytes of an upload's media: file, http(s), s3 and data addresses, within limits.

What is fetched lies in a temporary file without a name. SHA-256 and MD5 are taken on the way, so
that they are known even of files that no decoder survives.
"""

from __future__ import annotations

import binascii
import hashlib
import importlib
import os
import stat
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import IO, Any, Final, Self

from operators.media_http import Resolve, fetch_http, resolve
from schemas.evidence import Hashes
from schemas.media_job import FetchPart
from udfs.media_formats import HEAD, Format, extension_differs, identify
from udfs.media_image import MediaError

_BLOCK: Final = 1 << 20


class Fetched:
    """One upload's media, as they came. Close it.

    Args:
        part: limits.
        most_mb: bytes accepted, in MiB, and the setting that says so.
    """

    def __init__(self, part: FetchPart, most_mb: int, setting: str) -> None:
        self._most = most_mb << 20
        self._limit = f"fetch.{setting} = {most_mb}"
        self._deadline = time.monotonic() + part.timeout_s
        self._slow = f"fetch.timeout_s = {part.timeout_s:g}"
        self.file: IO[bytes] = tempfile.TemporaryFile("w+b", buffering=0)  # noqa: SIM115 - closed by close
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.head = b""
        self.size = 0
        self.format: Format | None = None
        self.extension_differs = False

    def take(self, block: bytes) -> None:
        """Add what came next.

        Raises:
            MediaError: it is too much, or came too late.
        """
        self.size += len(block)
        if self.size > self._most:
            raise MediaError("too_large", "the media are larger than is fetched", limit=self._limit)
        if time.monotonic() > self._deadline:
            raise MediaError("timeout", "the media came too slowly", limit=self._slow)
        if len(self.head) < HEAD:
            self.head += block[: HEAD - len(self.head)]
        self._sha256.update(block)
        self._md5.update(block)
        view = memoryview(block)
        while view:
            view = view[self.file.write(view) :]

    def finish(self, address: str, content_type: str) -> Self:
        """Identify what came.

        Raises:
            MediaError: it is empty, or none of the formats that are decoded.
        """
        if not self.size:
            raise MediaError("empty", "the file has no bytes")
        self.format = identify(self.head)
        if self.format is not None:
            self.extension_differs = extension_differs(self.format, address, content_type)
        return self

    @property
    def hashes(self) -> Hashes:
        """Of the bytes."""
        return Hashes(sha256=self._sha256.hexdigest(), md5=self._md5.hexdigest())

    def close(self) -> None:
        """Give its space back."""
        self.file.close()


class Fetcher:
    """Fetches by address.

    Args:
        part: limits and what is allowed.
        resolver: of host names; another one in tests.
    """

    def __init__(self, part: FetchPart, resolver: Resolve = resolve) -> None:
        self._part = part
        self._resolver = resolver
        self._s3: Any = None
        self._folders = [folder.resolve() for folder in part.folders]

    def fetch(self, address: str, *, video: bool) -> Fetched:
        """Fetch one upload's media. The caller closes what comes back.

        Args:
            address: `media_uri`.
            video: whether the larger limit counts.

        Raises:
            MediaError: saying why there is nothing.
        """
        part = self._part
        setting = "video_mb" if video else "image_mb"
        fetched = Fetched(part, part.video_mb if video else part.image_mb, setting)
        try:
            scheme = address.partition(":")[0].lower()
            declared = ""
            if scheme in {"http", "https"}:
                head = fetch_http(address, part, fetched.take, resolver=self._resolver)
                address, declared = head.address, head.content_type
            elif scheme == "file":
                self._from_file(address, fetched)
            elif scheme in {"s3", "s3a"}:
                self._from_s3(address, fetched)
            elif scheme == "data":
                declared = self._inline(address, fetched)
                address = ""
            else:
                raise MediaError("refused", "the address is none of http, https, s3, file, data")
            return fetched.finish(address, declared)
        except BaseException:
            fetched.close()
            raise

    def _inline(self, address: str, fetched: Fetched) -> str:
        """`data:[TYPE][;base64],BYTES` (RFC 2397); gives the type."""
        if not self._part.inline:
            raise MediaError("refused", "media inside the upload are not allowed",
                             limit="fetch.inline = false")  # fmt: skip
        head, comma, body = address.partition(",")
        if not comma:
            raise MediaError("malformed", "the data: address has no data")
        declared = head.removeprefix("data:")
        raw = urllib.parse.unquote_to_bytes(body)
        if declared.endswith(";base64"):
            try:
                raw = binascii.a2b_base64(raw, strict_mode=True)
            except binascii.Error:
                raise MediaError("malformed", "the data: address is not base64") from None
        fetched.take(raw)
        return declared.partition(";")[0]

    def _from_file(self, address: str, fetched: Fetched) -> None:
        try:
            parts = urllib.parse.urlsplit(address)
            if parts.netloc not in {"", "localhost"}:
                raise MediaError("refused", "file: addresses name no host")
            # Links are followed first: what counts is where the file lies.
            path = Path(urllib.parse.unquote(parts.path)).resolve()
        except (OSError, ValueError, RuntimeError):
            raise MediaError("refused", "the path cannot be read") from None
        if not any(path.is_relative_to(folder) for folder in self._folders):
            shown = ", ".join(map(str, self._part.folders))
            raise MediaError("refused", "the file is in no folder that is allowed",
                             limit=f"fetch.folders = [{shown}]")  # fmt: skip
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise MediaError("not_found", "there is no such file") from None
        except OSError as error:
            raise MediaError("unreachable", f"the file cannot be read: {error.strerror}") from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise MediaError("refused", "the path is no regular file")
            while block := os.read(descriptor, _BLOCK):
                fetched.take(block)
        finally:
            os.close(descriptor)

    def _from_s3(self, address: str, fetched: Fetched) -> None:
        bucket, _, key = address.partition("://")[2].partition("/")
        allowed = self._part.buckets
        if not bucket or not key or not ({bucket, "*"} & set(allowed)):
            raise MediaError("refused", "the bucket is not allowed",
                             limit=f"fetch.buckets = {list(allowed)}")  # fmt: skip
        try:
            with self._store().open(f"{bucket}/{key}", "rb", block_size=_BLOCK) as file:
                while block := file.read(_BLOCK):
                    fetched.take(block)
        except MediaError:
            raise
        except FileNotFoundError:
            raise MediaError("not_found", "there is no such object") from None
        except PermissionError:
            raise MediaError("refused", "the store does not give this object to us") from None
        except TimeoutError:
            raise MediaError("timeout", "the store was too slow") from None
        except Exception as error:  # noqa: BLE001 - the client has many kinds; all mean the same
            raise MediaError(
                "unreachable", f"the store does not answer as it should ({type(error).__name__})"
            ) from None

    def _store(self) -> Any:
        if self._s3 is None:
            part = self._part
            fsspec = importlib.import_module("fsspec")  # with s3 it takes half a second
            self._s3 = fsspec.filesystem(
                "s3",
                endpoint_url=part.s3_endpoint or None,
                config_kwargs={
                    "connect_timeout": part.connect_timeout_s,
                    "read_timeout": part.timeout_s,
                    "retries": {"max_attempts": 1},
                },
                # What somebody else put there a moment ago must be found.
                use_listings_cache=False,
                skip_instance_cache=True,
            )
        return self._s3
