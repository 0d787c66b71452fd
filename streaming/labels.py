"""The record of topic `labels`: what a head says of the text of one event. A wire contract, as `records` is."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from streaming.records import Finite, Record

Subject = Literal["item", "query"]
Probability = Annotated[float, Meta(ge=0, le=1)]


class Label(Record, kw_only=True):
    """What a head says of the item or the search of one event. Topic `labels`, keyed by `session_id`, a pseudonym."""

    label_id: str
    """The same however often it is sent, so that a consumer can drop a repeat: 128 bits in hex."""
    head: str
    """As BEFOREHAND_HEADS names it."""
    model: str
    """Version of the head: 12 hex characters, others for other weights."""
    session_id: str
    """Pseudonym."""
    user_id: str | None = None
    """Pseudonym."""
    subject: Subject
    """Of what the text is: the event's `item`, or its `query`, which is not in here."""
    item_id: str | None = None
    """With `item`: which; as in `catalogue`."""
    kind: str
    """Of the event."""
    event_id: str | None = None
    """Of the event, where the site gave one."""
    topic: str
    """Source topic of the event, without its prefix."""
    partition: int
    """Source partition."""
    offset: int
    """Of the source record."""
    label: str | None = None
    """Of classification: the most probable class."""
    probabilities: dict[str, Probability] = field(default_factory=dict)
    """Of classification: by class, the most probable first, at most 10."""
    value: Finite | None = None
    """Of regression: in the unit of what it learned from; of ranking: a score, the higher the more relevant."""
    event_time: int
    """When the event happened."""
    made_at: int
    """Wall time on a live worker, else `event_time`."""
