"""Every record that crosses a border, as slotted plain data. Field names, units and bounds are contracts.

The types here are the source of `schemas/*.json` and of the tables in docs/wire.md (`python -m
streaming.schemas`). On the wire a record is one MessagePack map with these field names as keys; a field that
equals its default is left out. `v` is the schema version: additive change only within one.

Times are milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

VERSION = 1
"""The schema version that this release writes, and the only one it reads."""

EARLIEST = 946_684_800_000
"""2000-01-01T00:00Z: an event before it is a clock that was never set."""

MAX_ID_BYTES = 256

Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_ID_BYTES,
        pattern=r"^[^\u0000-\u001f\u007f-\u009f]+(?![\s\S])",
        description="1 to 256 bytes of UTF-8 without control characters",
    ),
]
Time = Annotated[
    int,
    Meta(
        ge=EARLIEST,
        le=253_402_300_799_999,
        description="ms since the epoch, UTC, from 2000-01-01 to year 9999",
    ),
]
Text = Annotated[str, Meta(max_length=20_000)]
Amount = Annotated[float, Meta(ge=0, le=1e12, description="finite, not negative")]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Taken = Annotated[int, Meta(ge=0, le=15)]
Finite = Annotated[float, Meta(ge=-1.7976931348623157e308, le=1.7976931348623157e308, description="finite")]
Digest = Annotated[
    int,
    # msgspec takes no bound above 63 bits; MessagePack itself has none above 64.
    Meta(
        ge=0,
        extra_json_schema={"maximum": 2**64 - 1},
        description="order-free, of the source offsets, 64 bits",
    ),
]

Triple = Annotated[list[str], Meta(min_length=3, max_length=3, description="head, relation, tail")]

Kind = Literal["view", "click", "search", "cart_add", "cart_remove", "purchase", "impression", "exit"]
Trigger = Literal[
    "cold_start", "next_item", "repeat_interest", "intent_shift", "cart_idle", "exit_intent", "price_drop",
    "back_in_stock",
]  # fmt: skip
Level = Literal["full", "cached", "graph", "popular"]
Arm = Literal["treatment", "holdout"]
Rule = Literal["no_consent", "gone", "trigger_cooldown", "quiet", "daily_cap", "small_gain", "unsure", "holdout"]
"""Why a prediction was held back, in the order in which the rules are asked."""

CLICK_KINDS = frozenset({"click", "cart_add", "cart_remove", "purchase", "impression"})
BROWSE_KINDS = frozenset({"view", "search", "exit"})


class Record(Struct, omit_defaults=True, tag_field="v", tag=VERSION, gc=False):
    """What all records share: `v`, the schema version, is always written, and checked where it is read."""


# ---------------------------------------------------------------------------------------- inputs
class EventRecord(Record, kw_only=True):
    """What a visitor did, as the site says it. Topics `clicks` and `browses`, keyed by `session_id`."""

    kind: Kind
    """What was done: `view` a product page was opened, or left (with `dwell_ms`); `click` a product in a list
    was clicked; `impression` a list was shown; `exit` the page was hidden. Needed: `item_id`, but with
    `search`, `impression` and `exit`; `query` with `search`."""
    session_id: Id
    """As the site names it; equals the record's key."""
    time: Time
    """When it happened, at most 10 minutes after the Kafka record's own timestamp."""
    user_id: Id | None = None
    """As the site names the person, once it knows them."""
    item_id: Id | None = None
    """As in `catalogue`; an item that is not there yet is taken too."""
    query: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    """What the visitor searched for, in their words."""
    title: Annotated[str, Meta(min_length=1, max_length=2000)] | None = None
    """The item's title, for items that `catalogue` may not have yet."""
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """How many pieces."""
    price: Amount | None = None
    """Of one piece, in `currency`."""
    currency: Annotated[str, Meta(min_length=3, max_length=3)] | None = None
    """ISO 4217."""
    dwell_ms: Annotated[int, Meta(ge=0, le=86_400_000)] | None = None
    """How long the page was open."""
    prediction_id: Id | None = None
    """The prediction that led to it, when the list was ours."""
    event_id: Id | None = None
    """The site's own id of the event: a repeat among the last 64 of its session is ignored and counted."""
    consent: bool | None = None
    """Whether the visitor agrees to be sent predictions; absent: as said before, else as `assume_consent`
    says."""
    utc_offset_min: Annotated[int, Meta(ge=-840, le=840)] | None = None
    """The visitor's time zone, minutes east of UTC; absent: the shop's."""


class Tick(Record, kw_only=True):
    """Time passes. Topic `ticks`, one partition per partition of `clicks`."""

    time: Time
    """What time it is."""


class Item(Record, kw_only=True):
    """An item as it now is. Topic `catalogue`, keyed by `item_id`; a null value removes it."""

    item_id: Id
    """As in the events; equals the record's key."""
    title: Annotated[str, Meta(min_length=1, max_length=2000)]
    """What the visitor reads; with brand and category, what the text encoder reads."""
    brand: Annotated[str, Meta(max_length=256)] | None = None
    """The maker's name."""
    category: Annotated[str, Meta(max_length=1000)] | None = None
    """A path, `A > B > C`."""
    price: Amount | None = None
    """Of one piece, in `currency`."""
    currency: Annotated[str, Meta(min_length=3, max_length=3)] | None = None
    """ISO 4217."""
    stock: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    """Pieces at hand; 0 is as good as not available."""
    description: Text | None = None
    """Free text."""
    image: Annotated[str, Meta(max_length=2000)] | None = None
    """Its address."""
    attributes: dict[str, str | Finite | bool | None] | None = None
    """Whatever else the shop knows, by name."""
    available: bool = True
    """Whether it may be offered."""


class Fact(Struct, omit_defaults=True, gc=False):
    """One edge of the knowledge graph; the head is its record's."""

    relation: Id
    """What holds between them, such as `also_bought`."""
    tail: Id
    """The other end; an item's id is that item."""


class Facts(Record, kw_only=True):
    """All facts of one head. Topic `knowledge`, keyed by `head`; a null value removes them."""

    head: Id
    """Whose facts these are; an item's id is that item. Equals the record's key."""
    facts: Annotated[list[Fact], Meta(max_length=10_000)]
    """All of them: the record replaces the one before."""


class Control(Record, kw_only=True):
    """An operator's order to every worker. Topic `control`, keyed by `control_id`."""

    control_id: Id
    """Names the order in its receipts; equals the record's key."""
    action: Literal["forget", "switch_model", "set_rule"]
    """What to do."""
    session_id: Id | None = None
    """`forget`: the session, as the site names it."""
    user_id: Id | None = None
    """`forget`: the person, as the site names them."""
    model: Annotated[str, Meta(max_length=4096)] | None = None
    """`switch_model`: the model folder."""
    effective_at: Time | None = None
    """`switch_model`: when all workers, having read the folder, change over; absent: at once."""
    rule: Id | None = None
    """`set_rule`: the name of a rule setting, such as `daily_cap`."""
    value: Finite | None = None
    """`set_rule`: its new value."""


# ---------------------------------------------------------------------------------------- internal
class Transition(Struct, array_like=True, gc=False):
    """What one event taught, at one source offset. Earlier writers end with `kind`."""

    offset: int
    """Of the source record that taught it."""
    before: str
    """The item before it in its session; empty: none."""
    after: str
    """The event's item."""
    kind: str
    """Of the event."""
    time: int = 0
    """Of the event."""
    session: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] = 0
    """64 bits that stand for the session: xxh3_64 of its pseudonym, big-endian, signed."""
    visitor: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    """32 bits that stand for the user, else the session: CRC-32 of the pseudonym."""
    context: list[str] = []
    """Items before it in its session, nearest first, one a place; empty where the pair does not count again, for the
    two met in this session within half an hour. At most 10."""


class Learned(Record, kw_only=True):
    """What a batch of one source partition taught. Topic `learned`; applied once per source offset."""

    topic: str
    """Source topic without its prefix."""
    partition: int
    """Source partition."""
    transitions: list[Transition]
    """In the order of their offsets."""


# ---------------------------------------------------------------------------------------- outputs
class Reason(Struct, omit_defaults=True, gc=False):
    """Why an item is offered: a code for machines, the evidence, a sentence for people."""

    code: Literal["near", "together", "neighbours", "fact", "path", "popular", "cold", "price_drop", "back_in_stock"]
    """`near`: alike in words or use; `together`: visitors go from one to the other; `neighbours`: visitors with a
    session like this one took it; `fact`: the two share a fact; `path`: facts lead from one to the other; `popular`:
    many want it; `cold`: it is hardly known, and near to what visitors go to from there; `price_drop`,
    `back_in_stock`: what the catalogue says now."""
    sentence: str
    """The reason in words, English."""
    items: list[str] = []
    """The items of the session behind it, and of `cold` the known item; empty for `popular`."""
    facts: list[Triple] = []
    """The facts behind it, head, relation and tail of each: what is shared, or a path in its order."""
    sentence_zh: str = ""
    """The reason in words, Chinese."""
    visitors: Count = 0
    """How many visitors are behind it, at least; 0: not said."""
    old_price: Amount | None = None
    """With `price_drop` and `back_in_stock`: what the item cost before."""
    price: Amount | None = None
    """With them: what it costs now."""


class Offer(Struct, omit_defaults=True, gc=False):
    """One ranked item of a prediction."""

    item_id: str
    """As in `catalogue`."""
    score: Annotated[float, Meta(ge=0, le=1)]
    """Probability that the visitor views, clicks, adds or buys it within the horizon, where `calibrated`."""
    reasons: list[Reason]
    """The strongest first."""


class Intent(Struct, omit_defaults=True, gc=False):
    """What the visitor is about to do; a prediction has it once a model gives it."""

    purchase: Finite | None = None
    """Probability of a purchase within the session."""
    leaving: Finite | None = None
    """Probability that the visitor leaves now."""


class IndexVersion(Struct, omit_defaults=True, gc=False):
    """Which knowledge made a prediction."""

    snapshot: str
    """The model folder's data digest, and where none was given a name that says so."""
    learned: int = 0
    """How many records of `learned` were applied."""


class Prediction(Record, kw_only=True):
    """What a visitor will want. Topic `predictions`, keyed by `session_id`, a pseudonym."""

    prediction_id: str
    """The same however often it is sent, so that a consumer can drop a repeat: 128 bits in hex."""
    session_id: str
    """Pseudonym."""
    user_id: str | None = None
    """Pseudonym."""
    trigger: Trigger
    """Why now."""
    items: list[Offer]
    """Best first; empty where it only cancels."""
    calibrated: bool = False
    """Whether `score` and `intent` were calibrated on data."""
    intent: Intent | None = None
    """Absent until a model gives it."""
    chance: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Probability that any of its items comes within the horizon; absent: the model has no gate."""
    model: str
    """The model that made it."""
    index: IndexVersion
    """The knowledge that made it."""
    level: Level
    """How it was made: `full`; `cached` without the encoder; `graph`; `popular`: what a burst or an outage
    left."""
    arm: Arm
    """`holdout` is measured against, and sent nothing."""
    event_time: int
    """When the event or the tick that led to it happened."""
    made_at: int
    """Wall time on a live worker, else `event_time`."""
    expires_at: int
    """From then on it is of no use."""
    supersedes: list[str] = []
    """Ids of earlier predictions that this one replaces."""
    cancels: list[str] = []
    """Ids of earlier predictions that it withdraws."""


class Suppressed(Record, kw_only=True):
    """A prediction that was not sent, and why. Topic `suppressed`."""

    prediction: Prediction
    """Whole, as it would have been sent."""
    rule: Rule
    """Which rule held it back, the first of them in their order."""
    detail: str
    """The rule's reason in words."""


class Became(Struct, omit_defaults=True, gc=False):
    """What a visitor did afterwards with what they were sent: offers taken up, by kind of event."""

    view: Count = 0
    """Viewed."""
    click: Count = 0
    """Clicked."""
    cart_add: Count = 0
    """Put into the cart."""
    purchase: Count = 0
    """Bought."""


class Outcome(Struct, omit_defaults=True, gc=False):
    """What became of one prediction: events on its items, by kind, each up to 15. An event that names a prediction
    (`prediction_id`) counts for that one, another for the one that was live and had its item."""

    prediction_id: str
    """Which."""
    trigger: Trigger
    """What led to it."""
    held: bool = False
    """It was held back for the hold-out: what would have been taken up, to compare with."""
    viewed: Taken = 0
    """Views."""
    clicked: Taken = 0
    """Clicks."""
    carted: Taken = 0
    """Put into the cart."""
    purchased: Taken = 0
    """Purchases."""


class SessionClosed(Record, kw_only=True):
    """One record as a session ends. Topic `sessions`, keyed by its pseudonym."""

    session_id: str
    """Pseudonym."""
    user_id: str | None = None
    """Pseudonym."""
    events: dict[str, int]
    """Events applied, by topic without its prefix."""
    digest: Digest
    """Equal for equal sets of source offsets, whatever their order."""
    first_time: int
    """Of its first event."""
    last_time: int
    """Of its last event."""
    sent: Count = 0
    """Predictions sent."""
    became: Became
    """What the visitor did with what was offered, over all predictions that were sent."""
    predictions: list[Outcome] = []
    """What became of each, oldest first: the newest 12, or as many as the session's state had room for, but always the
    newest 3. What became of older ones is in `became` alone."""


class Receipt(Record, kw_only=True):
    """What a control record did in one worker. Topic `receipts`, keyed by `control_id`."""

    control_id: str
    """Of the order."""
    done: bool
    """Done, or refused."""
    worker: str
    """Which worker says so."""
    time: int
    """When it was done."""
    why: str
    """The reason of a refusal, or what was done."""
