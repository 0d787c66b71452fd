"""Graph vectors by DistMult (Yang et al. 2015), a knowledge graph embedding, as PyTorch Geometric has it. The one door
to that library.

The model learns a vector of each node and of each relation so that sum(head * relation * tail) is high for facts. What
is served is the head that a fact asks for, along relation * tail; of all facts of an item the weighted sum, which is a
vector of any item, one that training never saw included.

Such a product is as high where a relation turns the tail away from the head as where it leaves it as it is, so that two
that go together may as well end as opposites. Relations therefore begin as ones, which change nothing: two that go
together begin near, and a relation turns only as far as facts demand.

Training is by sampled softmax instead of one negative a fact (Ruffinelli et al. 2020: the loss tells more than the
model). Beside it stood ComplEx, RotatE and TransE: on Amazon Beauty's validation items the first ranked no better and
took twice as long, the others ranked worse.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.graph.facts import Fact, entity, named_entity
from encoders.graph.vectors import GraphVectors, feature

if TYPE_CHECKING:
    import torch

METHOD = "kge"

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class KgeSettings:
    """How the model is trained. The defaults are the best of a few on Amazon Beauty's validation items."""

    dimension: int = 64
    """Numbers of a vector."""
    epochs: int = 12
    """Times that every fact is seen."""
    most: int = 2_000_000
    """Facts that training looks at, all epochs together, so that a large graph does not take hours."""
    batch: int = 1024
    """Facts of a step."""
    negatives: int = 16
    """Wrong heads, and as many wrong tails, that a fact is told from."""
    learning_rate: float = 0.01
    """Of Adam, at first; it falls to a hundredth."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Of a relation's facts, beside log(items / heads); 1 where it is not here."""
    seed: int = 0
    """Of first vectors, batches and negatives."""

    def __post_init__(self) -> None:
        if min(self.dimension, self.epochs, self.most, self.batch, self.negatives) < 1:
            raise ValueError(f"{self}: expected dimension, epochs, most, batch and negatives of at least 1")


def fit_kge(
    facts: Mapping[str, Sequence[Fact]], others: Iterable[Fact] = (), settings: KgeSettings | None = None
) -> GraphVectors:
    """Graph vectors of items, from all that is known of each and of what they lead to.

    On a CPU, on one thread of torch as long as it runs, so that equal input gives equal vectors on one machine. Not for
    two threads at once: torch has one number of threads and one source of chance. Blocks for about 30 s with 100,000
    facts.

    Args:
        facts: by item id.
        others: facts of heads that are no items, such as categories.
    """
    its = settings or KgeSettings()
    triples = _numbered(facts, others)
    if not len(triples.asked):
        return GraphVectors(METHOD, [], np.zeros((0, its.dimension), dtype=np.float32))
    heads = np.bincount(triples.key_of_fact)
    weights = np.log(len(facts) / heads)
    weights *= [its.weights.get(relation, 1.0) for relation in triples.relation_of_key]
    rows = _asked_for(triples, its) * weights[:, None]
    return GraphVectors(METHOD, triples.keys, rows.astype(np.float32))


class _Triples(NamedTuple):
    """Facts by number. Nodes: items by id, then what else there is."""

    heads: Indices
    relations: Indices
    tails: Indices
    nodes: int
    kinds: int
    """Relations there are."""
    key_of_fact: Indices
    """Place among `keys`, of each fact of an item."""
    keys: list[str]
    """Of the items' facts."""
    relation_of_key: list[str]
    asked: Indices
    """(keys, 2): relation and tail of each key."""


def _numbered(facts: Mapping[str, Sequence[Fact]], others: Iterable[Fact]) -> _Triples:
    nodes = {item: number for number, item in enumerate(sorted(facts))}
    relations: dict[str, int] = {}
    keys: dict[str, int] = {}
    names: list[str] = []
    asked: list[tuple[int, int]] = []
    triples: dict[tuple[int, int, int], None] = {}
    of_fact: list[int] = []

    def number(fact: Fact) -> tuple[int, int, int]:
        head = fact.head if fact.head in facts else named_entity(fact.head) or entity("", fact.head)
        tail = fact.tail if fact.tail in facts else entity(fact.relation, fact.tail)
        return (
            nodes.setdefault(head, len(nodes)),
            relations.setdefault(fact.relation.casefold(), len(relations)),
            nodes.setdefault(tail, len(nodes)),
        )

    for item in sorted(facts):
        for fact in facts[item]:
            triple = number(fact)
            if triple in triples:
                continue
            triples[triple] = None
            place = keys.setdefault(feature(fact), len(keys))
            if place == len(names):
                names.append(fact.relation)
                asked.append(triple[1:])
            of_fact.append(place)
    triples |= dict.fromkeys(number(fact) for fact in others)
    heads, kinds, tails = np.array(list(triples), dtype=np.int64).reshape(-1, 3).T
    return _Triples(
        heads,
        kinds,
        tails,
        len(nodes),
        len(relations),
        np.array(of_fact, dtype=np.int64),
        list(keys),
        names,
        np.array(asked, dtype=np.int64).reshape(-1, 2),
    )


def _asked_for(triples: _Triples, settings: KgeSettings) -> NDArray[np.float64]:
    """Vectors of the heads that the keys ask for, (keys, dimension), of length 1."""
    import torch  # noqa: PLC0415  takes a second, and whoever only serves needs none of it
    from torch_geometric.nn.kge import DistMult  # noqa: PLC0415  as torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums depends on it
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = DistMult(triples.nodes, triples.kinds, settings.dimension)
            torch.nn.init.ones_(model.rel_emb.weight)
            _train(model, triples, settings)
            relation, tail = torch.from_numpy(triples.asked).T  # (keys,) each
            with torch.no_grad():
                heads = torch.nn.functional.normalize(model.rel_emb(relation) * model.node_emb(tail))
                return heads.double().numpy()
    finally:
        torch.set_num_threads(threads)


def _train(model: Any, triples: _Triples, settings: KgeSettings) -> None:
    """Sampled softmax: each fact against wrong heads and against wrong tails."""
    import torch  # noqa: PLC0415  as above

    facts = torch.from_numpy(np.stack([triples.heads, triples.relations, triples.tails]))  # (3, facts)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    an_epoch = math.ceil(facts.shape[1] / settings.batch)
    steps = min(settings.epochs * an_epoch, math.ceil(settings.most / settings.batch))
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, steps)
    for start in range(0, steps, an_epoch):
        for places in torch.split(torch.randperm(facts.shape[1]), settings.batch)[: steps - start]:
            head, relation, tail = facts[:, places]  # (b,) each
            right = torch.zeros(2 * len(places), dtype=torch.int64)
            wrong = torch.randint(triples.nodes, (2, len(places), settings.negatives))
            heads = torch.cat([head[:, None], wrong[0]], dim=1)  # (b, 1 + negatives)
            tails = torch.cat([tail[:, None], wrong[1]], dim=1)
            among_heads = model(heads.flatten(), *_repeated(relation, tail, heads.shape[1]))
            among_tails = model(*_repeated(head, relation, tails.shape[1]), tails.flatten())
            scores = torch.cat([among_heads, among_tails]).view(len(right), -1)  # (2 b, 1 + negatives)
            optimiser.zero_grad()
            loss: Any = torch.nn.functional.cross_entropy(scores, right)
            loss.backward()
            optimiser.step()
            schedule.step()


def _repeated(one: torch.Tensor, other: torch.Tensor, times: int) -> tuple[torch.Tensor, torch.Tensor]:
    return one.repeat_interleave(times), other.repeat_interleave(times)  # (b * times,) each
