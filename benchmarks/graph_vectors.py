"""How well vectors made of facts rank what came next: `python benchmarks/graph_vectors.py SHOP --json`.

SHOP is a folder that `beforehand import` wrote with a split: events of `train` teach, the first event of `valid` in a
session is asked for from those of `train` before it, and `test` is never looked at. Vectors are judged alone and beside
co-occurrence and whitened texts, each beside its control: the same vectors, each with another item. `untrained` is the
embedding after one step: what facts say whose vectors are as good as random. A time is CPU time of this process.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from encoders.graph.adjacency import Graph
from encoders.graph.choosing import DECAY, Scores, Validation, judge, mean_reciprocal_rank
from encoders.graph.facts import Fact, behaviour_facts, table_facts
from encoders.graph.kge import KgeSettings, fit_kge
from encoders.graph.svd import fit_svd
from encoders.graph.vectors import GraphVectors
from index.cooccurrence import CoOccurrence
from index.vocabulary import Vocabulary
from streaming.evaluation.nearest_text import text_vectors
from streaming.past import past_of
from streaming.provenance import machine, versions
from streaming.settings import Settings
from streaming.shop import ShopFolder
from streaming.text_encoder import text_encoder

TEXT = 0.8
"""Weight of the texts' cosine beside co-occurrence of which the best is 1."""
FITS: dict[str, Callable[[Mapping[str, Sequence[Fact]], Sequence[Fact]], GraphVectors]] = {
    "svd": lambda facts, _others: fit_svd(facts),
    "untrained": lambda facts, others: fit_kge(facts, others, KgeSettings(most=1)),
    "kge": lambda facts, others: fit_kge(facts, others),
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", type=Path)
    parser.add_argument("--relations", choices=("safe", "all"), default="safe")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    folder = ShopFolder(given.shop)
    events, items, facts = (folder.table(name)[0] for name in ("events", "items", "facts"))
    past = events.filter(pl.col("split") == "train", pl.col("item_id").is_not_null())
    vocabulary = Vocabulary(items["item_id"])
    counts = CoOccurrence.fit(vocabulary, past["session_id"], past["item_id"], past["time"], past["user_id"])
    graph = Graph()
    for item_id, brand, category, attributes in items.select("item_id", "brand", "category", "attributes").iter_rows():
        graph.upsert_item(item_id, brand, category, json.loads(attributes) if attributes else None)
    graph.extend(table_facts(facts, given.relations), "knowledge")
    with text_encoder(Settings.from_environment()) as encoder:
        texts = text_vectors(past_of(events, items, facts, folder.info, encoder), vocabulary)
    validation = asked(events, past, vocabulary, counts, texts)
    nothing = np.zeros((len(vocabulary), 1), dtype=np.float32)
    base = mean_reciprocal_rank(nothing, validation, (0.0,))[0.0]
    report: dict[str, Any] = {"sessions": len(validation.targets), "items": len(vocabulary), "base": round(base, 4)}
    report["rows"] = []
    for behaviour in (False, True):
        if behaviour:
            graph.extend(behaviour_facts(pairs(counts)), "behaviour")
        report["rows"] += [row | {"behaviour": behaviour} for row in trials(graph, vocabulary, validation)]
    report |= {"versions": versions(), "machine": machine()}
    if given.json:
        print(json.dumps(report))
        return
    print(f"{report['sessions']:,} sessions, {report['items']:,} items; MRR {report['base']} by counts and texts")
    for row in report["rows"]:
        print("  ".join(f"{name} {value}" for name, value in row.items()))


def asked(
    events: pl.DataFrame, past: pl.DataFrame, vocabulary: Vocabulary, counts: CoOccurrence, texts: np.ndarray
) -> Validation:
    """What came next in sessions that have a past, with scores by co-occurrence and texts as the base."""
    before = past.group_by("session_id", maintain_order=True).agg(history="item_id")
    nexts = events.filter(pl.col("split") == "valid", pl.col("item_id").is_not_null())
    nexts = nexts.unique("session_id", keep="first", maintain_order=True).join(before, on="session_id")
    histories = [vocabulary.codes(history) for history in nexts["history"].to_list()]

    def base(start: int, end: int) -> Scores:
        scores = np.zeros((end - start, len(vocabulary)), dtype=np.float32)
        for row, history in zip(scores, histories[start:end], strict=True):
            weights = DECAY ** np.arange(len(history), dtype=np.float64)[::-1]
            found = counts.together(history, weights, len(vocabulary))
            row[found.codes] = found.scores / max(found.scores.max(initial=0), 1e-12)
            pooled = weights @ texts[history]
            row += TEXT * (texts @ (pooled / max(np.linalg.norm(pooled), 1e-12)))
        return scores

    return Validation(histories, vocabulary.codes(nexts["item_id"].to_list()), base)


def pairs(counts: CoOccurrence) -> pl.DataFrame:
    """The pairs of the counts as `behaviour_facts` asks for them."""
    frame = counts.to_frame()
    told = frame.select("item_id", "after", "weight", "low", "high").filter(pl.col("after").list.len() > 0)
    told = told.explode("after", "weight", "low", "high")
    after = frame["item_id"].gather(told["after"])
    return told.select(
        before="item_id", after=after, weight="weight", visitors=1 + (pl.col("low") != pl.col("high")).cast(pl.Int64)
    )


def trials(graph: Graph, vocabulary: Vocabulary, validation: Validation) -> list[dict[str, Any]]:
    """One row a method."""
    facts = {item_id: graph.facts(item_id) for item_id in vocabulary.all()}
    heads = graph.to_frame().filter(~pl.col("head").is_in(list(facts))).select("head", "relation", "tail")
    others = [Fact(*row) for row in heads.iter_rows()]
    rows = []
    for name, fit in FITS.items():
        begun = time.process_time()
        fitted = fit(facts, others)
        spent = time.process_time() - begun
        trial = judge(name, fitted.vectors(list(facts.values())), validation)
        rows.append(
            {
                "method": name,
                "facts": sum(map(len, facts.values())) + len(others),
                "alone": round(trial.alone, 4),
                "alone_control": round(trial.control_alone, 4),
                "fused": round(trial.fused, 4),
                "weight": trial.weight,
                "fused_control": round(trial.control_fused, 4),
                "fit_cpu_s": round(spent, 1),
            }
        )
    return rows


if __name__ == "__main__":
    main()
