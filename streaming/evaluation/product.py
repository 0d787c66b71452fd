"""The product's own ranking as a ranker among others: learned from the training part, asked as a worker asks it."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.graph.vectors import shuffled
from encoders.sequence.settings import Network
from encoders.text import TextEncoder
from index.candidates import Column
from index.forest_fitting import ForestSettings
from index.gate import Gate
from index.lesson import Lesson
from index.meetings import CONTEXT, MEMORY, lesson_context
from index.tables import TableSettings
from streaming import gating
from streaming.building import UNTRAINED, made, taught
from streaming.errors import InputError
from streaming.evaluation.log import KINDS as LOG_KINDS
from streaming.evaluation.log import TrainingPart
from streaming.evaluation.moments import Moment, Passed, Ranked
from streaming.fitting import Chosen
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.learning import Training
from streaming.past import Past
from streaming.ranking import DIGITS, HISTORY, RankingSettings, Raw, decayed, gather, ranked
from streaming.recalibrating import Recalibration
from streaming.reranking import PARTS
from streaming.sessions import KINDS, Step
from streaming.sights import Sights, search
from streaming.teaching import session_tag

NAME = "beforehand"
_CALLED = {"prior": "popularity"}
VARIANTS: Mapping[str, Mapping[str, float]] = {
    **{f"without {_CALLED.get(part, part)}": {part: 0.0} for part in PARTS},
    "without any network": {"text": 0.0, "sequence": 0.0},
}
"""Weights of the ranking that are changed, by what the product is called then: one for each part of the score."""
UNRANKED = "without the forest"
"""What it is called where nothing ranks the best once more."""
SHUFFLED = "shuffled graph"
SEED = 20_140_723


@dataclass
class Workshop:
    """Makes shops out of training parts; what all rankers share is made once."""

    encoder: TextEncoder
    settings: TableSettings
    """Of the model that is evaluated."""
    forest: ForestSettings | None
    moments: int
    """Of the model, likewise: how its forest was grown, and on how many moments at most."""
    past: Past
    """The whole shop; of its events only those of a part are learned from."""
    training: Training = UNTRAINED
    """Where its network is trained."""
    recalibrate: bool = False
    """Whether what is said of chances follows what came of it, where the product learns as the test passes."""
    leave_one_out: bool = False
    """Whether weights are chosen as that test asks, in place of by time."""
    as_built: Path | None = None
    """A model folder that is taken as it is, whatever the part; its caller has made sure that it saw no target."""

    def __post_init__(self) -> None:
        self._known: tuple[TrainingPart, Shop] | None = None
        self._chosen: tuple[TrainingPart, Chosen] | None = None
        self.gate = Gate.none("no shop was made yet")
        """Of the shop that was made last."""

    def shop_of(self, part: TrainingPart, *, anew: bool) -> Shop:
        """A shop with what the part teaches, and the whole catalogue.

        Args:
            anew: its caller will teach it more; else one shop serves several.
        """
        if not anew and self._known is not None and self._known[0] is part:
            return self._known[1]
        if self.as_built is not None:
            shop = Shop.open(self.as_built, self.encoder)
            shop.upsert(list(items_of(part.items)))
        else:
            shop = self._taught(part)
        self.gate = shop.gate
        if not anew:
            self._known = part, shop
        return shop

    def _taught(self, part: TrainingPart) -> Shop:
        past = self.past.until(part.events)
        if self._chosen is not None and self._chosen[0] is part:
            return taught(past, self.encoder, self._chosen[1], training=self.training)
        chosen, shop, _ = made(
            past,
            self.encoder,
            self.settings,
            forest=self.forest,
            training=self.training,
            moments=self.moments,
            leave_one_out=self.leave_one_out,
        )
        self._chosen = part, chosen
        return shop

    def with_network(self, network: Network) -> Workshop:
        """The same, with another network than the model's, trained anew on the part.

        Raises:
            InputError: the model has none, or tables are taken as they are.
        """
        its = self.settings.sequence
        if its is None or self.as_built is not None:
            raise InputError(
                f"--networks {network} for a model {'as built' if its else 'without a network'}, expected one of"
                " `beforehand train`, its tables learned anew; leave --networks away"
            )
        changed = replace(its, network=network, teacher=its.teacher if network == "gru" else "none")
        return replace(self, settings=replace(self.settings, sequence=changed))


def _histories(part: TrainingPart) -> dict[int, deque[tuple[str, int]]]:
    """Newest items and times of each session, by number: a session that goes on into the test teaches with what it had
    before, as a worker's state has it."""
    histories: dict[int, deque[tuple[str, int]]] = {}
    columns = (part.sessions.tolist(), part.events["item_id"], part.times.tolist())
    for session, item_id, time in zip(*columns, strict=True):
        histories.setdefault(session, deque(maxlen=MEMORY)).append((item_id, time))
    return histories


class _Said(NamedTuple):
    """What `Recalibration.said` is told."""

    session: str
    time: int
    items: list[int]
    scores: list[float]
    chance: float | None


class Product:
    """The ranking that a worker makes at the newest event, before anything is held back."""

    learns = True

    def __init__(
        self, workshop: Workshop, name: str = NAME, changed: Mapping[str, float] | None = None, *, teach: bool = False
    ) -> None:
        """
        Args:
            changed: weights of the ranking that are other than the model's.
            teach: it will be taught.
        """
        self.name = name
        self._workshop = workshop
        self._changed = dict(changed or {})
        self._teach = teach

    def fit(self, part: TrainingPart) -> None:
        """As the protocol says."""
        self._shop = self._workshop.shop_of(part, anew=self._teach or self.name == SHUFFLED)
        self._settings = replace(RankingSettings.of(self._shop), **self._changed)  # type: ignore[arg-type]
        self._catalogue = part.catalogue
        self._sights = Sights(self._shop, self._shop.encoder)
        self._histories = _histories(part) if self._teach else {}
        sessions = dict(zip(part.sessions.tolist(), part.events["session_id"], strict=True))
        self._tags = {number: session_tag(session) for number, session in sessions.items()}
        noted = self._workshop.recalibrate and self._teach and not self._changed
        self._recalibration = Recalibration() if noted else None
        self._learned = Counter(part.sessions.tolist())  # events of each session
        self._unsaid: defaultdict[int, deque[tuple[int, _Said]]] = defaultdict(deque)
        if self.name == SHUFFLED:
            self._shuffle()

    def rank(self, moment: Moment, _k: int) -> Ranked:
        """As the protocol says; k is as many as the ranking's own candidates."""
        ids = self._catalogue.ids(moment.items[-HISTORY:])
        kinds, times = moment.kinds[-HISTORY:].tolist(), moment.times[-HISTORY:].tolist()
        history = tuple(
            Step(time, place, KINDS.index(LOG_KINDS[kind]), item_id)
            for place, (time, kind, item_id) in enumerate(zip(times, kinds, ids, strict=True))
        )
        sight = self._sights.of("", history)
        near = search(
            self._shop, [sight], self._settings.query_weights, self._settings.nearest, cold=self._settings.cold
        )[0]
        raw = gather(
            decayed(history, self._settings.decay), sight, near, self._shop, self._settings, self._tag(moment.session)
        )
        codes = self._catalogue.codes(self._shop.vocabulary.ids(raw.codes))
        z = (raw.parts * self._settings.weights).sum(axis=1).round(DIGITS)
        if self.name != UNRANKED:
            z = ranked(raw, z, self._shop)
        calibration = self._shop.calibration
        sure = calibration.calibrated and self.name != UNRANKED
        if not sure:
            return Ranked(codes, z)
        probabilities = calibration.apply(z, raw.context)
        able = np.ones(len(z), np.bool_) if self._settings.repeat else ~np.isin(raw.codes, raw.known)
        places = np.flatnonzero(able)
        best = places[np.argsort(-z[places], kind="stable")[: gating.OFFERS]]
        acts = self._acts(raw, z, probabilities, best, history)
        if self._recalibration is not None:
            said = _Said(str(moment.session), moment.time, codes[best].tolist(), probabilities[best].tolist(), acts)
            self._unsaid[moment.session].append((len(moment.items), said))
            self._say(self._recalibration, moment.session)
            probabilities = self._recalibration.offers.apply(probabilities)
            acts = None if acts is None else self._recalibration.predictions.apply_one(acts)
        return Ranked(codes, z, probabilities, acts)

    def _acts(
        self, raw: Raw, z: Column, probabilities: Column, best: NDArray[np.int64], history: tuple[Step, ...]
    ) -> float | None:
        """Probability that any of the first offers comes; None: the model has no gate, or its weights were changed.

        Args:
            best: (n,), places of the first offers.
        """
        gate = self._shop.gate
        if not gate.fitted or self._changed or not len(best):
            return None
        first = (raw.parts[best[0]] * self._settings.weights).tolist()
        return gate.model.probability(
            gating.features(probabilities[best].tolist(), z[best].tolist(), first, raw.context, history)
        )

    def learn(self, passed: Passed) -> None:
        """As the protocol says."""
        if self._recalibration is not None:
            self._recalibration.met(str(passed.session), passed.item, passed.time)
            self._learned[passed.session] += 1
            self._say(self._recalibration, passed.session)
        had = self._histories.setdefault(passed.session, deque(maxlen=MEMORY))
        had.append((self._catalogue.id(passed.item), passed.time))
        items, times = [item for item, _ in had], [time for _, time in had]
        context = lesson_context(items, times, CONTEXT)
        lesson = Lesson(items[-1], context, LOG_KINDS[passed.kind], passed.time, self._tag(passed.session), passed.user)
        self._shop.observe(lesson)

    def _say(self, recalibration: Recalibration, session: int) -> None:
        """Tells what was said once all events before it are learned, for those of a day are learned when it is over:
        else they would be taken for what came of it."""
        unsaid = self._unsaid[session]
        while unsaid and unsaid[0][0] <= self._learned[session]:
            recalibration.said(*unsaid.popleft()[1])

    def _tag(self, session: int) -> int:
        """What a session is called in the tables; of one that the part has not, its number."""
        return self._tags.get(session, session)

    def _shuffle(self) -> None:
        """Each item gets the graph's vector of another."""
        shop = self._shop
        codes = shop.vocabulary.codes(list(shop.items))
        rows = shop.index.vectors(codes)
        space = shop.layout.slices[1]
        rows[:, space] = shuffled(rows[:, space], SEED)
        shop.index.upsert(codes, rows)
