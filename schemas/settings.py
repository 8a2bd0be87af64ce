"""Settings: one typed, frozen model. A YAML profile in `conf/`, then the environment.

A profile is `conf/profiles/NAME.yaml`. An environment variable `SLUICE_KAFKA__BOOTSTRAP`
overrides `kafka.bootstrap`, and so on. Wrong values stop the start, naming field and file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from schemas.errors import ConfigError
from schemas.topics import Topics, topics

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"

Positive = Annotated[int, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
    """Where Kafka is and how topics are made."""

    bootstrap: str = "localhost:9092"
    topic_prefix: str = Field(default="moderation", pattern=r"^[a-zA-Z0-9._-]{1,100}$")
    group_id: str = "sluice-moderation"
    partitions: Positive = 4
    replication: Positive = 1
    retention_hours: Positive = 168
    start: Literal["earliest-offset", "latest-offset", "group-offsets"] = "group-offsets"
    """Where a job without a checkpoint begins; group-offsets falls back to earliest."""
    fetch_wait_ms: Positive = 5
    """How long a broker may wait for more uploads before it answers the moderation job."""
    linger_ms: int = Field(default=3, ge=0)
    """How long a job's record may wait for company on its way to a topic."""
    patience_s: float = Field(default=0.0, ge=0)
    """How long `scripts/run` waits for a broker and topics that are not there yet."""
    client: dict[str, str] = {}
    """More client properties (security.protocol, sasl.*), passed through to Flink's
    connector. Values may name environment variables as ${NAME}."""


class RedisSettings(_Section):
    """Where Redis is, and when the breaker in front of it opens."""

    url: str = "redis://localhost:6379/0"
    enabled: bool = True
    timeout_ms: Positive = 20
    breaker_failures: Positive = 3
    breaker_open_s: float = Field(default=2.0, gt=0)
    decision_ttl_days: Positive = 30
    local_entries: Positive = 10_000
    """Of the in-process cache in front."""
    remember: Literal["costly", "all"] = "costly"
    """Which scores the caches keep. costly: the heavy tier's; what the fast tier says is computed
    again in less time than looking it up takes."""


class ContextSettings(_Section):
    """What is known about threads and communities; see docs/CONTEXT.md."""

    enabled: bool = True
    settle_ms: Positive = 2_000
    """How long before an upload a mark must have been written to count for it; more than the
    broker's and Redis' clocks may differ."""
    hostile_from: Probability = 0.5
    """Toxicity from which a content heats its thread and counts in its community."""
    window_s: Positive = 600
    half_life_s: Positive = 120
    replay_s: Positive = 600
    """How long beyond the window marks are kept: so late a replay still finds what was found."""
    late_s: Positive = 60
    """A mark that comes so long after its upload says nothing about a thread or a community."""
    parent_floor: Probability = 0.3
    """Toxicity from which a content's own row is kept."""
    parent_ttl_h: Positive = 6
    baseline_bucket_s: Positive = 3_600
    baseline_buckets: Positive = 24
    baseline_sample: Positive = 64
    """Contents of a community and bucket that are looked at."""
    baseline_min_uploads: Positive = 50
    """A community with fewer has no baseline."""
    local_entries: Positive = 10_000
    """Threads, and communities, whose answers a process keeps."""


class LimitSettings(_Section):
    """What an upload may be."""

    max_bytes: Positive = 262_144
    max_text_chars: Positive = 50_000


class TickSettings(_Section):
    """How uploads are put together into batches."""

    interval_ms: Positive = 5
    """How long an upload waits for others that arrive with it."""
    max_batch: Positive = 256
    late_after_ms: Positive = 40
    """An upload that was taken by the broker so long ago comes out of a queue; it waits for
    `late_interval_ms` instead, so that batches grow, and cost less each, where work piles up."""
    late_interval_ms: Positive = 20


class VelocitySettings(_Section):
    """The rings of `operators.velocity`."""

    future_tolerance_s: Positive = 60
    remembered_uploads: Positive = 64
    remembered_for_s: Positive = 600
    idle_ttl_hours: Positive = 26


class CaseSettings(_Section):
    """Pictures and videos that wait for their evidence; deadlines are in the policy (`media`)."""

    early_s: float = Field(default=600.0, gt=0)
    """How long evidence waits for an upload that has not come; then it is a dead letter."""
    grace_s: float = Field(default=10.0, ge=0)
    """How long deadlines wait after a start: first the evidence of an outage is read."""
    keep_hours: Positive = 48
    """How long a case is remembered: to tell a redelivery, and to be corrected by late evidence."""


class FlinkSettings(_Section):
    """Engine settings that differ between a laptop and a cluster."""

    parallelism: Positive = 1
    checkpoint_interval_ms: Positive = 3_000
    checkpoint_dir: str = ""
    """Empty: `.run/checkpoints` beside the code (a local job only)."""
    state_backend: Literal["hashmap", "rocksdb"] = "hashmap"
    buffer_timeout_ms: Annotated[int, Field(ge=0)] = 4
    restart_attempts: Positive = 10
    restart_delay_ms: Positive = 500
    metrics_port: str = "9249-9260"
    """Port or range for the Prometheus reporter, the first free one counts; empty to do without."""
    rest_port: int = 0
    """Web UI of a local mini-cluster; 0 picks a free one."""
    options: dict[str, str] = {}
    """Any more of Flink's own options; these win."""


class CascadeSettings(_Section):
    """Files that the cascade is composed of, relative to the project's root."""

    policy: Path = Path("conf/policy.yaml")
    rules: Path = Path("conf/rules.yaml")
    banks: Path = Path("conf/banks.yaml")
    media_banks: Path = Path("conf/media_banks.yaml")
    trust: Path = Path("conf/trust.yaml")
    fusion: Path = Path("conf/fusion.yaml")
    fusion_model: Path | None = None
    """Package of a fusion by trees (scripts/train_fusion); null: the coefficients alone."""
    fast_text: Path | None = Path("conf/models/fast_text")
    """null: no model; banks, rules and behaviour decide alone."""
    deep_text: Path | None = Path("conf/models/deep_text")
    """Package of the heavy tier; null: the fast tier decides alone."""
    audit: Literal["all", "acted", "none"] = "all"


class DeepSettings(_Section):
    """What the heavy text tier looks at, and what it may take. See `udfs.stage_deep`."""

    low: Probability = 0.1
    high: Probability = 0.95
    """Shown to it are uploads of which the fast tier gives any category a probability between."""
    budget_ms: Annotated[float, Field(ge=0)] = 10.0
    """Of one batch; what is left over then the fast tier decides alone. 0: no limit."""
    late_after_ms: Annotated[float, Field(ge=0)] = 40.0
    """Uploads that the broker has had for longer are not shown to it. 0: all are."""
    busy_most: Probability = 0.75
    """Share of the time that the thread of a subtask may be busy with everything; the heavy tier
    gets what the rest leaves of it. 0: no limit. A GPU does its work elsewhere: no limit there."""
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    precision: Literal["auto", "int8", "fp16", "fp32"] = "auto"
    threads: Positive = 1

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError("low: must not be above high")
        return self


class MediaSettings(_Section):
    """The media job. What it fetches, decodes and looks for is in a file of its own."""

    config: Path = Path("conf/media.yaml")
    group_id: str = "sluice-media"
    batch: Positive = 32
    """Uploads that are looked at together, at most."""
    batch_ms: Positive = 50
    """How long an upload waits, at most, for others to be looked at with it."""
    checkpoint_interval_ms: Positive = 10_000
    background: bool = True
    """On an embedded mini-cluster: run where nobody else wants the processor, one thread each. A
    cluster's machines are shared out by whoever runs it."""


class FeedbackSettings(_Section):
    """The feedback job. How long it waits and what words weigh is in a file of its own."""

    config: Path = Path("conf/feedback.yaml")
    group_id: str = "sluice-feedback"
    checkpoint_interval_ms: Positive = 10_000


class CampaignsSettings(_Section):
    """The campaigns job. What it takes for a campaign is in a file of its own."""

    config: Path = Path("conf/campaigns.yaml")
    group_id: str = "sluice-campaigns"
    checkpoint_interval_ms: Positive = 10_000


class TablesSettings(_Section):
    """The analyst tables. How they are kept, and for how long, is in a file of its own."""

    config: Path = Path("conf/tables.yaml")
    holds: Path = Path("conf/legal_holds.yaml")
    """Users and contents whose rows stay, whatever their age and whoever asks."""
    warehouse: str = ""
    """Folder or URI that the tables are in; empty: `.run/warehouse` beside the code."""
    database: str = Field(default="sluice", pattern=r"^[a-z][a-z0-9_]{0,63}$")
    group_id: str = "sluice-tables"
    checkpoint_interval_ms: Positive = 30_000
    """Rows can be read when the checkpoint after them is complete."""
    background: bool = True
    """On an embedded mini-cluster: run where nobody else wants the processor."""


class QualitySettings(_Section):
    """Checks of closed days (`scripts/quality`). What is checked is in conf/expectations."""

    grace_hours: float = Field(default=3.0, ge=0)
    """How long after its end a day counts as open: late records still come."""
    publish: bool = False
    """Results onto the topic `quality` as well, where the command does not say otherwise."""


class Settings(BaseSettings):
    """Everything that can be set. See the class of each section."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="SLUICE_",
        env_nested_delimiter="__",
        env_parse_none_str="null",  # as a profile says it
    )

    profile: str = "dev"
    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    context: ContextSettings = ContextSettings()
    limits: LimitSettings = LimitSettings()
    tick: TickSettings = TickSettings()
    velocity: VelocitySettings = VelocitySettings()
    cases: CaseSettings = CaseSettings()
    flink: FlinkSettings = FlinkSettings()
    cascade: CascadeSettings = CascadeSettings()
    deep: DeepSettings = DeepSettings()
    media: MediaSettings = MediaSettings()
    tables: TablesSettings = TablesSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    campaigns: CampaignsSettings = CampaignsSettings()
    quality: QualitySettings = QualitySettings()

    @property
    def topics(self) -> Topics:
        """Topic names under the configured prefix."""
        return topics(self.kafka.topic_prefix)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.velocity.idle_ttl_hours < 24:
            raise ValueError("velocity.idle_ttl_hours: must cover the day window (24 or more)")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base class gives the signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the profile, which is handed in as init values."""
        return (env_settings, init_settings)


def unhurried(settings: Settings) -> Settings:
    """The same, the heavy tier taking as long as it takes: nobody waits for a file's end."""
    deep = settings.deep.model_copy(
        update={"budget_ms": 0.0, "late_after_ms": 0.0, "busy_most": 0.0}
    )
    return settings.model_copy(update={"deep": deep})


def load_settings(profile: str = "dev", *, conf: Path = CONF, **overrides: Any) -> Settings:
    """Read a profile and the environment.

    Args:
        profile: a name in `conf/profiles`, or the path of a YAML file.
        conf: the folder that holds `profiles/`.
        overrides: whole sections that replace the profile's (for tests and scripts).

    Raises:
        ConfigError: naming the field and the file.
    """
    path = (
        Path(profile) if profile.endswith((".yaml", ".yml")) else conf / f"profiles/{profile}.yaml"
    )
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in (conf / "profiles").glob("*.yaml")))
        raise ConfigError(f"no such profile; there are: {known}", file=str(path))
    try:
        document = yaml.safe_load(path.read_text("utf-8")) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(
            "not YAML", file=str(path), line=mark.line + 1 if mark else None
        ) from None
    if not isinstance(document, dict):
        raise ConfigError("a profile is a mapping of sections", file=str(path))
    try:
        return Settings(**{"profile": path.stem, **document, **overrides})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            first["msg"], file=f"{path} (or environment)", field=field or None
        ) from None
