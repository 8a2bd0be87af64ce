"""The project's errors. Each carries what its caller needs to act, and says so in words."""

from __future__ import annotations


class SluiceError(Exception):
    """Root of every error that Sluice raises on purpose."""


class ConfigError(SluiceError):
    """A configuration file or setting is wrong. Found at load, never in the stream.

    Args:
        message: what is wrong and what would be right.
        file: the file that holds the mistake, if it is in a file.
        line: 1-based line in that file, if known.
        field: dotted path of the field, if known.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        self.message = message
        self.file = file
        self.line = line
        self.field = field
        place = ":".join(str(part) for part in (file, line) if part is not None)
        parts = [part for part in (place, field, message) if part]
        super().__init__(": ".join(parts))


class UnreadableError(ConfigError):
    """A file that the configuration names cannot be read now: what holds it may be away."""


class InvalidUploadError(SluiceError):
    """A payload that cannot be moderated. Becomes a dead letter.

    Args:
        kind: machine-readable class of the mistake, one of `schemas.dead_letter.ErrorKind`.
        message: what is wrong, naming the field. Never quotes user content.
        field: JSON path of the field at fault, `$` being the document.
    """

    def __init__(self, kind: str, message: str, *, field: str = "$") -> None:
        self.kind = kind
        self.message = message
        self.field = field
        super().__init__(f"{kind}: {message}")


class DependencyUnavailableError(SluiceError):
    """A store or service cannot be reached now.

    Args:
        name: the dependency, as `degraded` lists it (for example `redis`).
        retry_after_s: seconds until a new attempt makes sense.
    """

    def __init__(self, name: str, message: str, *, retry_after_s: float = 0.0) -> None:
        self.name = name
        self.retry_after_s = retry_after_s
        super().__init__(f"{name} unavailable: {message}")
