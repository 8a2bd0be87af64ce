"""YAML files that know their lines, so that a mistake is reported where it stands.

A model's validator that finds a mistake below itself raises `FaultError` with the way down.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml.constructor import SafeConstructor

from schemas.errors import ConfigError

# libyaml reads a rule file in milliseconds that the Python parser takes a second for.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH: Final = 64
"""Deepest nesting that is read."""

Model = TypeVar("Model", bound=BaseModel)
PathPart = str | int


class FaultError(ValueError):
    """A mistake at a place below the model that found it; for validators of models.

    Args:
        message: what is wrong and what would be right.
        path: keys and indexes from the model down to the mistake.
    """

    def __init__(self, message: str, *path: PathPart) -> None:
        self.path = path
        super().__init__(message)


class YamlSource:
    """One parsed YAML document, its file name and the place of every node.

    Args:
        text: the document.
        file: name to report in errors; None where the text did not come from a file.

    Raises:
        ConfigError: where the text is not YAML, not a mapping, or names a key twice (YAML
            would silently keep the last), with the line.
    """

    def __init__(self, text: str, file: str | None = None) -> None:
        self.file = file
        try:
            self._refuse_depth(text)
            self._root = yaml.compose(text, Loader=_LOADER)
            self._refuse_duplicates(self._root, (), set())
            self.document: Any = self._construct()
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or "not YAML"
            raise ConfigError(
                f"not YAML: {problem}", file=file, line=mark.line + 1 if mark else None
            ) from None
        except ValueError as error:  # for example a date that does not exist
            raise ConfigError(f"not YAML: {error}", file=file) from None
        except RecursionError:
            raise ConfigError("nested too deep", file=file) from None
        if not isinstance(self.document, dict):
            raise ConfigError("the file must be a mapping", file=file, line=1)

    @classmethod
    def read(cls, path: Path) -> YamlSource:
        """Read a UTF-8 file.

        Raises:
            ConfigError: where it cannot be read or parsed.
        """
        try:
            text = path.read_text("utf-8")
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
        except UnicodeDecodeError:
            raise ConfigError("is not UTF-8", file=str(path)) from None
        return cls(text, str(path))

    def line(self, place: Sequence[str | int]) -> int | None:
        """1-based line of the node at `place`, or of its nearest parent that exists."""
        node = self._root
        line = node.start_mark.line + 1 if node else None
        for part in place:
            found: Any = None
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == str(part):
                        found, line = value, key.start_mark.line + 1
            elif (
                isinstance(node, yaml.SequenceNode)
                and isinstance(part, int)
                and part < len(node.value)
            ):
                found = node.value[part]
                line = found.start_mark.line + 1
            if found is None:
                break
            node = found
        return line

    def error(self, message: str, place: Sequence[str | int] = ()) -> ConfigError:
        """An error about the node at `place`, with file, line and dotted field."""
        field = ".".join(str(part) for part in place)
        return ConfigError(message, file=self.file, line=self.line(place), field=field or None)

    def validate(self, model: type[Model]) -> Model:
        """The document as a model.

        Raises:
            ConfigError: about the first field that is wrong.
        """
        try:
            return model.model_validate(self.document)
        except ValidationError as error:
            raise self._explain(error.errors()[0]) from None
        except RecursionError:
            raise ConfigError("nested too deep", file=self.file) from None

    def _explain(self, first: ErrorDetails) -> ConfigError:
        # Union tags appear in the path but not in the document.
        place = [
            part
            for part in first["loc"]
            if part not in {"keywords", "regex"} and not str(part).startswith("<")
        ]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, FaultError):
            place.extend(cause.path)
        if first["type"] == "missing":
            return self.error(f"{place[-1]} is required", place)
        if first["type"] == "extra_forbidden":
            return self.error(f"unknown field {place[-1]}", place)
        # YAML has lists and mappings where Python says tuple and dictionary.
        message = first["msg"].removeprefix("Value error, ")
        message = message.replace("Tuple", "List").replace("tuple", "list")
        message = message.replace("Dictionary", "Mapping").replace("dictionary", "mapping")
        return self.error(message, place)

    def _refuse_depth(self, text: str) -> None:
        """Before composing, which recurses: libyaml would overflow its stack."""
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    mark = event.start_mark
                    line = mark.line + 1 if mark else None
                    raise ConfigError("nested too deep", file=self.file, line=line)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1

    def _construct(self) -> Any:
        return SafeConstructor().construct_document(self._root) if self._root else None

    def _refuse_duplicates(
        self, node: yaml.Node | None, place: tuple[PathPart, ...], seen: set[int]
    ) -> None:
        if id(node) in seen:  # an alias
            return
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                name = str(key.value)
                if name in keys:
                    raise ConfigError(
                        "is given twice",
                        file=self.file,
                        line=key.start_mark.line + 1,
                        field=".".join(str(part) for part in (*place, name)),
                    )
                keys.add(name)
                self._refuse_duplicates(value, (*place, name), seen)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._refuse_duplicates(value, (*place, index), seen)
