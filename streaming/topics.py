"""The topic catalogue: which topics there are, how they are cut, how long they keep what, and who may write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streaming.settings import TopicSettings

DAY_MS = 86_400_000
MAX_VALUE_BYTES = 1024 * 1024
"""A value above this is a dead letter."""
MAX_RECORD_BYTES = 2 * 1024 * 1024
"""Kafka refuses a record above this, and the producer's caller gets the error."""
KEPT_BYTES = 64 * 1024
"""What a dead letter keeps of a value above MAX_VALUE_BYTES."""

Direction = Literal["in", "out", "internal"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as `beforehand topics create` makes it."""

    name: str
    """Without the prefix."""
    direction: Direction
    key: str
    """What the key is, for people."""
    record: str
    """The type in `streaming.records` or `streaming.labels`."""
    sharded: bool
    """Cut like `clicks`; otherwise one partition, read whole by every worker."""
    compacted: bool = False
    retention_ms: int = 7 * DAY_MS
    """-1: for ever. Of no meaning to a compacted topic."""

    def config(self) -> dict[str, str]:
        """The topic's configuration, in Kafka's names."""
        config = {"max.message.bytes": str(MAX_RECORD_BYTES)}
        if self.compacted:
            return config | {"cleanup.policy": "compact"}
        return config | {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


CLICKS = Topic("clicks", "in", "session id", "EventRecord", sharded=True)
BROWSES = Topic("browses", "in", "session id", "EventRecord", sharded=True)
TICKS = Topic("ticks", "internal", "none; partition given", "Tick", sharded=True, retention_ms=DAY_MS)
CATALOGUE = Topic("catalogue", "in", "item id", "Item", sharded=False, compacted=True)
KNOWLEDGE = Topic("knowledge", "in", "head", "Facts", sharded=False, compacted=True)
CONTROL = Topic("control", "in", "control id", "Control", sharded=False, retention_ms=-1)
LEARNED = Topic("learned", "internal", "none; partition given", "Learned", sharded=True)
PREDICTIONS = Topic("predictions", "out", "pseudonym of the session", "Prediction", sharded=True)
SUPPRESSED = Topic("suppressed", "out", "pseudonym of the session", "Suppressed", sharded=True)
SESSIONS = Topic("sessions", "out", "pseudonym of the session", "SessionClosed", sharded=True, retention_ms=30 * DAY_MS)
LABELS = Topic("labels", "out", "pseudonym of the session", "Label", sharded=True)
RECEIPTS = Topic("receipts", "out", "control id", "Receipt", sharded=False, retention_ms=30 * DAY_MS)
DEAD_LETTERS = Topic("dead-letters", "out", "as it came", "bytes", sharded=True)

TOPICS = (
    CLICKS,
    BROWSES,
    TICKS,
    CATALOGUE,
    KNOWLEDGE,
    CONTROL,
    LEARNED,
    PREDICTIONS,
    SUPPRESSED,
    SESSIONS,
    LABELS,
    RECEIPTS,
    DEAD_LETTERS,
)

SOURCES = (CLICKS, BROWSES, TICKS)
"""What the group's members share, partition by partition. The position is the topic's number in a session's state."""

BROADCAST = (CATALOGUE, KNOWLEDGE, CONTROL, LEARNED)
"""What every worker reads whole, by a consumer of its own that commits nothing."""


def group(settings: TopicSettings) -> str:
    """The consumer group of the workers, which is Faust's app id too.

    >>> group(TopicSettings())
    'beforehand.worker'
    """
    return f"{settings.prefix}worker"


FENCE_KEY = b"\x00fence"
"""On the changelog: key of the record that a new owner of a partition writes first. No session has it: ids hold no
control characters."""
OUTBOX_KEY = b"\x01outbox"
"""On the changelog: key of the records that the last batch of the partition decided to send; see `streaming.outbox`."""


def is_session(key: bytes | None) -> bool:
    """Whether a key of the changelog is a session's; the product's own begin with a control character.

    >>> is_session(b"3f1c"), is_session(FENCE_KEY), is_session(OUTBOX_KEY)
    (True, False, False)
    """
    return key is not None and key[:1] >= b" "


def changelog(settings: TopicSettings) -> str:
    """The compacted topic that the session states live on; named by Faust.

    >>> changelog(TopicSettings())
    'beforehand.worker-sessions-changelog'
    """
    return f"{group(settings)}-sessions-changelog"


def source_of(name: str) -> tuple[str, int]:
    """Topic and partition of a source.

    >>> source_of("clicks/3")
    ('clicks', 3)
    """
    topic, _, partition = name.rpartition("/")
    return topic, int(partition)
