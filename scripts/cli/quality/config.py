"""What `conf/expectations/NAME.yaml` may say: the checks of one suite, in our own few words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.errors import ConfigError
from schemas.quality import CheckSeverity
from schemas.settings import CONF
from schemas.yaml_source import FaultError, YamlSource

FOLDER: Final = CONF / "expectations"
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Severity = CheckSeverity
Scalar = bool | int | float | str
Reader = Literal["upload", "decision", "training", "feedback"]


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
    optional: bool = False
    """No row need have a value."""
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


class FreshnessCheck(_Part):
    """How old the newest row may be where its day ends."""

    about: str = "Age of the newest row where the day ends, hours; an outage at its end shows."
    max_hours: Annotated[float, Field(gt=0)]
    severity: Severity = "error"


class VolumeCheck(_Part):
    """How many rows a day has, beside the same weekday of the weeks before.

    Bounds are the median m of those weeks and m -+ max(z * 1.4826 * MAD, slack * m), MAD being the
    median distance from m: the Hampel identifier (Davies and Gather 1993; 1.4826 makes MAD the
    standard deviation of a normal), with a floor for steady weeks, whose MAD is next to nothing.
    Days without rows do not count.
    """

    about: str = "Rows beside the same weekday of the weeks before."
    weeks: Annotated[int, Field(ge=1, le=12)] = 4
    least_weeks: Annotated[int, Field(ge=1, le=12)] = 1
    """With fewer the result says that there is too little history, and does not fail."""
    z: Annotated[float, Field(gt=0)] = 3.5
    """Of Iglewicz and Hoaglin (1993), for outliers by the median."""
    slack: Share = 0.5
    severity: Severity = "error"

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.least_weeks > self.weeks:
            raise FaultError("must not be above weeks", "least_weeks")
        return self


class DriftCheck(_Part):
    """How far the values of a column have moved since the same weekday of the week before.

    The population stability index, sum of (p - q) ln(p / q) over the values, p and q being their
    shares (Siddiqi 2006, Credit Risk Scorecards; Jeffreys' divergence). Half a row is added to
    each value, so that one that is new does not make it infinite. By custom below 0.1 nothing has
    moved, above 0.25 much. Chance alone gives (values - 1) (1 / rows + 1 / rows of then) on average
    (Yurdakul 2018), which is granted besides.
    """

    about: str = ""
    column: str
    max: Annotated[float, Field(gt=0)] = 0.25
    least: Annotated[int, Field(ge=1)] = 200
    """With fewer rows on either day nothing is said."""
    severity: Severity = "warning"


class JoinCheck(_Part):
    """How much of what people said came out as rows of feedback."""

    about: str = "Of what people said on the day, what was joined with a decision."
    min: Share
    severity: Severity = "error"


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
    freshness: FreshnessCheck | None = None
    """This and what follows needs a day."""
    volume: VolumeCheck | None = None
    drift: dict[str, DriftCheck] = {}
    joins: dict[Literal["report", "verdict", "appeal"], JoinCheck] = {}
    """Of the tables' feedback."""


def names(folder: Path = FOLDER) -> list[str]:
    """Names of the suites."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def name_of(suite: str) -> str:
    """The name that results go by.

    Args:
        suite: the name of a shipped suite, or the path of a YAML file.

    Raises:
        ConfigError: the file has the name of a shipped suite, whose results would be mixed up.
    """
    if not suite.endswith((".yaml", ".yml")):
        return suite
    path = Path(suite)
    if path.stem in names() and path.resolve() != (FOLDER / path.name).resolve():
        raise ConfigError("there is a suite of this name; call it otherwise", file=suite)
    return path.stem


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
