"""How pairs of items are counted and scored."""

from __future__ import annotations

from dataclasses import dataclass

from index.meetings import WIDEST


@dataclass(frozen=True, slots=True)
class CoSettings:
    """How pairs are counted and scored. The defaults are the best on the validation items of Amazon Beauty."""

    window: int = 10
    """Two events of a session at most this many places apart are a pair; at most 62."""
    by_distance: bool = True
    """A pair weighs less the farther apart it is; False: 1 wherever the two stand, for sessions whose order means
    nothing, as the lines of a basket."""
    fading: float = 0.7
    """How fast: a pair weighs distance ** -fading."""
    backward: float = 0.2
    """What a pair weighs against its direction; 1 where order means nothing. 0 also leaves `support` without the
    meetings in the other order."""
    self_pairs: bool = True
    """An item may follow itself: a quarter of all clicks repeat the item before. Whether it may be shown is not said
    here (`CoOccurrence.together`)."""
    doubt: float = 50.0
    """Added to an item's total weight, so that one seen once is not sure of its one neighbour. The more a shop hears of
    an item, the less of it is best: 100 to 200 on Amazon Beauty (16 events an item), 10 on YooChoose clicks (24)."""
    damping: float = 0.05
    """A neighbour's score is multiplied by its count to the power of -damping: less of what everybody takes."""
    half_life_days: float | None = None
    """After so long an event counts half, by forward decay (Cormode et al. 2009); None: for ever the same. The table
    must be built anew within 30 half-lives: later events weigh no more than one at that time."""
    neighbours: int = 100
    """Neighbours kept of an item; up to twice as many while learning."""
    popular: int = 200
    """Most popular items that are kept in order between calls."""
    per_session: int = 200
    """Events of a session that teach, the first ones: what a bot may contribute. `fit` stops there; so must whoever
    makes lessons."""
    strangers: int = 100_000
    """Items that lessons may add to the vocabulary, unknown to it before; lessons on further ones teach nothing."""
    cold_below: int = 2
    """An item that was seen less often may borrow from its nearest warm items (`CoOccurrence.cold`)."""
    cold_factor: float = 16.0
    """What a borrowed score is multiplied by: high enough that what resembles a favourite is found among its
    own neighbours, and so low that what is known loses little by it; docs/quality.md has both figures."""

    def __post_init__(self) -> None:
        if not 1 <= self.window <= WIDEST or min(self.neighbours, self.popular, self.per_session) < 1:
            raise ValueError(
                f"{self}: expected a window from 1 to {WIDEST}, neighbours, popular and per_session of at least 1"
            )
        if not 0 <= self.backward <= 1:
            raise ValueError(f"backward {self.backward}, expected 0 to 1")
        if min(self.fading, self.damping, self.doubt, self.cold_factor, self.strangers, self.cold_below) < 0:
            raise ValueError(
                f"{self}: expected fading, damping, doubt, cold_factor, strangers and cold_below of at least 0"
            )
        if self.half_life_days is not None and not self.half_life_days > 0:
            raise ValueError(f"half_life_days {self.half_life_days}, expected more than 0, or None for no decay")
