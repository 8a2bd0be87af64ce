"""What `conf/expectations/NAME.yaml` may say: the checks of one suite, in our own few words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.errors import ConfigError
from schemas.settings import CONF
from schemas.yaml_source import FaultError, YamlSource

FOLDER: Final = CONF / "expectations"
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Severity = Literal["error", "warning"]
Scalar = bool | int | float | str
Reader = Literal["upload", "training", "feedback"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ColumnCheck(_Part):
    """What the values of one column keep to."""

    about: str = ""
    """Why, for the page."""
    optional: bool = False
    """The column may be absent altogether, as what no producer gives."""
    null_share: Share = 1.0
    """Most rows without a value; 0 asks for one in every row."""
    values: tuple[Scalar, ...] | None = None
    min: float | None = None
    max: float | None = None
    min_length: Count | None = None
    """Of a text, characters."""
    max_length: Count | None = None
    unique: bool = False
    bad_share: Share = 0.0
    """Most rows, of those with a value, that may break `values`, a range or a length."""
    severity: Severity = "error"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for low, high in (("min", "max"), ("min_length", "max_length")):
            lower, upper = getattr(self, low), getattr(self, high)
            if lower is not None and upper is not None and lower > upper:
                raise FaultError(f"must not be above {high}", low)
        return self


class ShareCheck(_Part):
    """How many of the rows have one of some values in a column."""

    about: str = ""
    column: str
    values: Annotated[tuple[Scalar, ...], Field(min_length=1)]
    among: dict[str, Scalar] = {}
    """Only rows with these values; and only rows in which `column` has a value at all."""
    min: Share = 0.0
    max: Share = 1.0
    severity: Severity = "error"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise FaultError("must not be above max", "min")
        return self


class RowCount(_Part):
    """How many rows all files together have."""

    min: Count = 1
    max: Count | None = None


class SuiteConfig(_Part):
    """The whole file."""

    version: Literal[1]
    about: str
    reader: Reader
    """How files are read, and which columns are derived (`scripts.cli.quality.frames`)."""
    rows: RowCount = RowCount()
    more_columns: bool = True
    """False: no columns but those named here and the derived ones."""
    columns: Annotated[dict[str, ColumnCheck], Field(min_length=1)]
    shares: dict[str, ShareCheck] = {}


def names(folder: Path = FOLDER) -> list[str]:
    """Names of the suites."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(name: str, folder: Path = FOLDER) -> SuiteConfig:
    """Read and check a suite.

    Args:
        name: of a suite in the folder, or the path of a YAML file.
        folder: of the suites.

    Raises:
        ConfigError: naming file, line and field.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"no such suite; there are: {', '.join(names(folder))}", file=str(path))
    return YamlSource.read(path).validate(SuiteConfig)
