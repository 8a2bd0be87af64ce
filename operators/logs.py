"""Logs of the jobs: one line an event, with fields, and no personal data in their values."""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog


def get_logger(name: str, keep: Iterable[str] = ()) -> Any:
    """A logger whose methods take an event and its fields: `log.warning("away", bank="b1")`.

    Lines go where the standard library's logging sends them, Flink's log within a task.

    Args:
        name: of the standard library's logger.
        keep: fields that hold no free text and must be readable, such as ids that may look like
            numbers.
    """
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            _Masked(keep),
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        # `BoundLogger.exception` would have the standard library append the trace again, as it is.
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=True,
    )


class _Masked:
    """`udfs.pii.MaskLogs`, loaded with the first line: most jobs never log one."""

    def __init__(self, keep: Iterable[str]) -> None:
        self._keep = tuple(keep)
        self._mask: Any = None

    def __call__(
        self, logger: Any, method_name: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if self._mask is None:
            from udfs.pii import MaskLogs  # noqa: PLC0415 - see above

            self._mask = MaskLogs(self._keep)
        masked: MutableMapping[str, Any] = self._mask(logger, method_name, event)
        return masked
