"""Who takes part: the product, the product less something, and the baselines that it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from encoders.sequence.settings import Network as SessionNetwork
from streaming.evaluation.counting import CoOccurrenceTable, ItemKnn, VmisKnn
from streaming.evaluation.evaluation import Entry
from streaming.evaluation.moments import Ranker
from streaming.evaluation.nearest_text import LastItemsText, Vectors
from streaming.evaluation.popularity import DecayedPopularity, Popularity
from streaming.evaluation.product import SHUFFLED, UNRANKED, VARIANTS, Product, Workshop


def contest(
    workshop: Workshop,
    vectors: Vectors | None,
    networks: Sequence[Ranker] = (),
    *,
    online: bool,
    variants: bool = True,
    encoders: Sequence[SessionNetwork] = (),
) -> Iterator[Entry]:
    """The entries, made one at a time; the product first.

    Args:
        vectors: (items, dimension), of the catalogue's texts; None: its items have no words.
        networks: baselines that are trained; frozen.
        online: each learns as the test passes, and stands beside itself frozen.
        variants: whether the product less each of its channels takes part.
        encoders: session networks in place of the model's, that the product takes part with too.
    """
    yield Entry(Product(workshop, teach=online), "product", teach=online)
    if online:
        yield Entry(Product(workshop), "variant", frozen=True)
    if variants:
        for name, changed in VARIANTS.items():
            yield Entry(Product(workshop, name, changed, teach=online), "variant", teach=online)
        if workshop.forest is not None:
            yield Entry(Product(workshop, UNRANKED, teach=online), "variant", teach=online)
        yield Entry(Product(workshop, SHUFFLED, teach=online), "variant", teach=online)
    for encoder in encoders:
        yield Entry(
            Product(workshop.with_network(encoder), f"network {encoder}", teach=online), "variant", teach=online
        )
    yield from _both(Popularity, online)
    yield from _both(DecayedPopularity, online)
    if vectors is not None:
        yield Entry(LastItemsText(vectors), "baseline")
    yield from _both(CoOccurrenceTable, online)
    yield from _both(ItemKnn, online)
    yield from _both(VmisKnn, online)
    for network in networks:
        yield Entry(network, "baseline")


def _both(make: Callable[[], Ranker], online: bool) -> Iterator[Entry]:
    """A baseline, and where it learns as the test passes, itself frozen too."""
    ranker = make()
    yield Entry(ranker, "baseline", teach=online and ranker.learns)
    if online and ranker.learns:
        yield Entry(make(), "baseline", frozen=True)
