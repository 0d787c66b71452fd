"""Baselines that know what goes with what: the tables of `index` alone, and item-kNN by cosine of sessions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from index.co_settings import CoSettings
from index.cooccurrence import CoOccurrence
from index.knn_settings import KnnSettings
from index.lesson import Lesson
from index.meetings import lesson_context
from index.session_knn import SessionKnn
from index.vocabulary import Codes
from streaming.evaluation.log import KINDS, TrainingPart
from streaming.evaluation.moments import Moment, Passed, Ranked, best

DECAY = 0.6
"""What an item of the history weighs against the one after it."""
SHRINKAGE = 5.0
"""Added to the denominator of item-kNN's cosine, so that two items of one session are not sure of each other."""
_TRIED = 2000
"""Newest training events whose sessions VMIS-kNN is tried on."""
_FOUND = 500
"""Items asked of a table: ties with the last that matters, some fortieth, are among them."""
_LASTING = 32
"""Events of a session that are kept for the context of a lesson."""

Alike = Callable[[Codes], NDArray[np.float64]]


class CoOccurrenceTable:
    """The directed, distance-weighted table with its defaults, over the decayed history, and nothing beside it: so
    tuned, counts beat most published networks on sequences like these."""

    name = "co-occurrence"
    learns = True

    def fit(self, part: TrainingPart) -> None:
        """As the protocol says."""
        order = {} if part.info.ordered else {"by_distance": False, "backward": 1.0, "damping": 0.0}
        settings = CoSettings(self_pairs=part.info.repeats_allowed, **order)  # type: ignore[arg-type]
        self._catalogue = part.catalogue
        self._table = CoOccurrence.fit(
            part.catalogue, part.sessions, part.codes, part.times, part.users, settings=settings
        )
        self._recent: dict[int, deque[tuple[str, int]]] = {}
        for session, code, time in zip(part.sessions.tolist(), part.codes.tolist(), part.times.tolist(), strict=True):
            self._had(session, code, time)

    def rank(self, moment: Moment, _k: int) -> Ranked:
        """As the protocol says."""
        weights = DECAY ** np.arange(len(moment.items) - 1, -1, -1, dtype=np.float64)
        found = self._table.together(moment.items, weights, _FOUND)
        return Ranked(found.codes, found.scores)

    def learn(self, passed: Passed) -> None:
        """As the protocol says."""
        had = self._had(passed.session, passed.item, passed.time)
        items, times = [item for item, _ in had], [time for _, time in had]
        self._table.observe(
            Lesson(
                items[-1],
                lesson_context(items, times, self._table.settings.window),
                KINDS[passed.kind],
                passed.time,
                passed.session,
                passed.user,
            )
        )

    def _had(self, session: int, code: int, time: int) -> deque[tuple[str, int]]:
        """The session's newest events with this one."""
        had = self._recent.setdefault(session, deque(maxlen=_LASTING))
        had.append((self._catalogue.id(code), time))
        return had


class VmisKnn:
    """Sessions that share recent items with this one (Kersbergen, Sprangers and Schelter 2022), and nothing beside
    them.

    Nearly every neighbour has the newest item itself, which so holds the first place. Serenade takes it out; here that
    is tried on the newest training sessions, each asked for its last item as if it had not been there.
    """

    name = "VMIS-kNN"
    learns = True

    def fit(self, part: TrainingPart) -> None:
        """As the protocol says."""
        self._catalogue = part.catalogue
        bare = KnnSettings(own=1, again=0)
        self._knn = SessionKnn.fit(
            part.catalogue, part.sessions.astype(np.int64), part.events["item_id"], part.times, bare
        )
        self._newest_too = part.info.repeats_allowed and self._better_with_newest(part)

    def rank(self, moment: Moment, _k: int) -> Ranked:
        """As the protocol says."""
        return self._ranked(moment.session, moment.items, self._newest_too)

    def learn(self, passed: Passed) -> None:
        """As the protocol says."""
        item, kind = self._catalogue.id(passed.item), KINDS[passed.kind]
        self._knn.observe(Lesson(item, (), kind, passed.time, passed.session, passed.user))

    def _ranked(self, session: int, items: Codes, newest_too: bool) -> Ranked:
        found = self._knn.scores(items, _FOUND, exclude=session)
        kept = slice(None) if newest_too else found.codes != items[-1]
        return Ranked(found.codes[kept], found.scores[kept])

    def _better_with_newest(self, part: TrainingPart) -> bool:
        """Whether the newest item among the answers gives the higher mean reciprocal rank."""
        gained = 0.0
        for session in dict.fromkeys(part.sessions[: -_TRIED - 1 : -1].tolist()):
            items = part.codes[part.sessions == session]
            if len(items) > 1:
                with_it, without = (self._ranked(session, items[:-1], too) for too in (True, False))
                gained += _reciprocal_rank(with_it, items[-1]) - _reciprocal_rank(without, items[-1])
        return gained > 0


class ItemKnn:
    """Items by the cosine of their sessions with those of the history (Sarwar et al. 2001), shrunk; an item goes with
    itself as often as sessions came back to it. Frozen: its cosines are of a whole table."""

    name = "item-kNN"
    learns = False

    def fit(self, part: TrainingPart) -> None:
        """As the protocol says."""
        met = _met(part)
        again = np.bincount(met.indices, met.data > 1, minlength=met.shape[1])  # sessions that came back to the item
        met.data[:] = 1.0  # once a session
        both = (met.T @ met).tocsr()
        size = np.sqrt(both.diagonal())
        both.setdiag(again)
        both.eliminate_zeros()
        both.sort_indices()
        before = np.repeat(np.arange(both.shape[0]), np.diff(both.indptr))
        both.data /= size[before] * size[both.indices] + SHRINKAGE
        edges = both.indptr.tolist()
        self._rows = [(both.indices[start:end], both.data[start:end]) for start, end in pairwise(edges)]

    def rank(self, moment: Moment, k: int) -> Ranked:
        """As the protocol says."""
        weights: dict[int, float] = {}
        for back, code in enumerate(moment.items[::-1].tolist()):
            weights.setdefault(code, DECAY**back)  # an item counts where it stood last
        codes = np.concatenate([self._rows[code][0] for code in weights])
        parts = np.concatenate([self._rows[code][1] * weight for code, weight in weights.items()])
        return best(np.bincount(codes, parts, minlength=len(self._rows)).astype(np.float64), k)

    def learn(self, passed: Passed) -> None:
        """As the protocol says: nothing."""


def _reciprocal_rank(ranked: Ranked, target: int) -> float:
    """0: it is not there."""
    at = np.flatnonzero(ranked.codes == target)
    return 1 / float(np.count_nonzero(ranked.scores >= ranked.scores[at[0]])) if len(at) else 0.0


def alike_by_sessions(part: TrainingPart) -> Alike:
    """For lists of items without words: the cosine of the sessions that had them, (m,) items to (m, m)."""
    met = _met(part)
    met.data[:] = 1.0  # once a session
    sizes = np.sqrt(np.maximum(np.asarray(met.sum(axis=0)).ravel(), 1))
    by_item = met.T.tocsr()

    def alike(codes: Codes) -> NDArray[np.float64]:
        rows = by_item[codes]
        both: NDArray[np.float64] = (rows @ rows.T).toarray()
        return both / np.outer(sizes[codes], sizes[codes])

    return alike


def _met(part: TrainingPart) -> csr_matrix:
    """(sessions, items): how often a session had an item."""
    shape = (int(part.sessions.max()) + 1, len(part.catalogue))
    return csr_matrix((np.ones(len(part.sessions)), (part.sessions, part.codes)), shape=shape)
