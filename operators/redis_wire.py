"""One connection to Redis, on which writes do not wait for their answers.

A server answers in order, so the answers to writes are read before the next question is put, when
they have long come: what the server does for a write, the caller does not wait for.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any, Final, Generic, TypeVar

import redis

W = TypeVar("W")
"""What the caller knows a write by."""
_UNANSWERED: Final = 64
"""Writes that may be under way at once."""
_NO_SCRIPT: Final = redis.exceptions.NoScriptError


class RedisWire(Generic[W]):
    """Questions, and writes by a script. For one thread.

    Whatever raises has closed the connection, or read its answer; the next call connects anew.

    Args:
        client: whose pool connects; its time-outs hold.
        script: Lua, what `run` and `tell` run. Running it twice must do what once does.
    """

    def __init__(self, client: redis.Redis, script: str) -> None:
        self._client = client
        self._script = script
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._connection: Any = None  # the client ships no types for connections
        self._unanswered: deque[W] = deque()
        self._lost: list[W] = []

    def ask(self, *command: Any) -> Any:
        """Put a question, and give its answer.

        Raises:
            RedisError: no answer within the time-out, or a refusal, also of an earlier write.
        """
        return self._patient(command)

    def run(self, *arguments: Any) -> Any:
        """Run the script, and give its answer.

        Raises:
            RedisError: likewise.
        """
        try:
            return self._patient(("EVALSHA", self._sha, *arguments))
        except _NO_SCRIPT:  # somebody flushed the scripts
            return self._patient(("EVAL", self._script, *arguments))

    def tell(self, write: W, *arguments: Any) -> None:
        """Run the script and go on; what it answers is thrown away.

        Raises:
            RedisError: it could not be sent.
        """
        try:
            connection = self._connected()
            if len(self._unanswered) >= _UNANSWERED:
                self.settle()
        except (redis.RedisError, OSError):
            self._lost.append(write)
            raise
        self._unanswered.append(write)
        try:
            connection.send_command("EVALSHA", self._sha, *arguments)
        except (redis.RedisError, OSError):
            self._close()
            raise

    def settle(self) -> None:
        """Wait until all writes are answered.

        Raises:
            RedisError: no answer within the time-out, or a refusal; then others may wait still.
        """
        connection = self._connection
        while self._unanswered and connection is not None:
            try:
                connection.read_response()
            except _NO_SCRIPT:
                self._lost.append(self._unanswered.popleft())
                self._load(connection)
            except redis.ResponseError:
                # It will not take it another time either.
                self._unanswered.popleft()
                raise
            except (redis.RedisError, OSError):
                self._close()
                raise
            else:
                self._unanswered.popleft()

    def lost(self) -> list[W]:
        """Writes that may not have arrived, oldest first; they are told once."""
        lost, self._lost = self._lost, []
        return lost

    def _patient(self, command: tuple[Any, ...]) -> Any:
        used = self._connection is not None
        try:
            return self._answer(command)
        except redis.ConnectionError:
            if not used:
                raise
            # The server has been restarted since the last call.
            return self._answer(command)

    def _answer(self, command: tuple[Any, ...]) -> Any:
        connection = self._connected()
        self.settle()
        return self._said(connection, command)

    def _said(self, connection: Any, command: tuple[Any, ...]) -> Any:
        try:
            connection.send_command(*command)
            return connection.read_response()
        except redis.ResponseError:
            raise
        except (redis.RedisError, OSError):
            self._close()
            raise

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = self._client.connection_pool.get_connection()
            self._load(self._connection)
        return self._connection

    def _load(self, connection: Any) -> None:
        if not self._unanswered:
            self._said(connection, ("SCRIPT", "LOAD", self._script))

    def _close(self) -> None:
        self._lost += self._unanswered
        self._unanswered.clear()
        if self._connection is not None:
            self._connection.disconnect()
            self._client.connection_pool.release(self._connection)
        self._connection = None
