"""How fast a BERT encodes on one thread, as float32 by torch and as int8.

    python benchmarks/text_encoder.py [SHOP] [--json]

Texts of 16, 32 and 128 tokens, one text a call as a worker meets them and 64 a call as a build does; tokenising is in
it. The figure is the median of CPU time (of this process) a text, of calls one after the other, with wall time beside
it, and of calls in turns with the other encoder's. With a SHOP that `beforehand import` wrote: agreement of the two on
its items' texts, and what ranking by them is worth.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import count, product
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np

from encoders.cache import CachedTextEncoder
from encoders.text import TextEncoder, Vectors, load_text_encoder
from streaming.provenance import machine, versions
from streaming.settings import Settings
from streaming.shop import ShopFolder
from streaming.text_window import compared, text_window

TOKENS = (16, 32, 128)
ROUNDS = 30
WORDS = ("tea", "red", "blue", "mug", "milk", "soap", "oil", "cream", "hair", "skin", "face", "body", "water", "rose")
"""Each is one token of BERT's vocabulary."""
ENCODERS: tuple[Literal["float32", "int8"], ...] = ("float32", "int8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", type=Path, nargs="?")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()
    settings = Settings.from_environment()
    kept = settings.encoder.cache_dir or settings.worker.data_dir / "vectors"
    encoders: dict[str, TextEncoder] = {
        name: load_text_encoder(
            settings.encoder.model,
            device="cpu",
            threads=1,
            precision=name,
            adapter=settings.encoder.adapter,
            exports=kept,
        )
        for name in ENCODERS
    }
    report: dict[str, Any] = {"model": settings.encoder.model, "threads": 1, "speed": speeds(encoders)}
    if given.shop is not None:
        report["quality"] = quality(encoders, ShopFolder(given.shop), kept)
    report |= {"versions": versions(), "machine": machine() | {"vnni": has_vnni()}}
    if given.json:
        print(json.dumps(report))
        return
    print(f"{report['model']}, one thread, VNNI {report['machine']['vnni']}; {report['machine']['processor']}")
    for row in report["speed"]:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    for name, value in report.get("quality", {}).items():
        print(name, value)


def speeds(encoders: dict[str, TextEncoder]) -> list[dict[str, Any]]:
    """One row a length and a size of call. Calls one after the other find an encoder's weights in the caches, as where
    a catalogue is read; calls in turns find the other encoder's, as a worker's finds whatever it did before."""
    chance, number = np.random.default_rng(0), count()

    def call(tokens: int, size: int) -> list[str]:
        """[CLS] and [SEP] are two of the tokens; the number makes each text another one."""
        return [" ".join([*chance.choice(WORDS, tokens - 3), str(next(number) % 10)]) for _ in range(size)]

    rows = []
    for tokens, size in product(TOKENS, (1, 64)):
        calls = [call(tokens, size) for _ in range(ROUNDS if size == 1 else 3)]
        turns = [{name: clocked(encoder, texts) for name, encoder in encoders.items()} for texts in calls]
        alone = {name: [clocked(encoder, texts) for texts in calls] for name, encoder in encoders.items()}
        row: dict[str, Any] = {"tokens": tokens, "texts_a_call": size}
        for name in encoders:  # the first call warms up
            row[f"{name}_cpu_ms"] = median(cpu for cpu, _, _ in alone[name][1:])
            row[f"{name}_wall_ms"] = median(wall for _, wall, _ in alone[name][1:])
            row[f"{name}_in_turns_cpu_ms"] = median(turn[name][0] for turn in turns[1:])
        row["times_as_fast"] = row["float32_cpu_ms"] / row["int8_cpu_ms"]
        row["times_as_fast_in_turns"] = row["float32_in_turns_cpu_ms"] / row["int8_in_turns_cpu_ms"]
        cosines = [(turn["float32"][2] * turn["int8"][2]).sum(axis=1) for turn in turns]
        told = {name: round(value, 2) for name, value in row.items()}
        rows.append(told | {"cosine": round(float(np.mean(cosines)), 4)})
    return rows


def clocked(encoder: TextEncoder, texts: list[str]) -> tuple[float, float, Vectors]:
    """CPU and wall milliseconds a text, and the vectors."""
    cpu, wall = time.process_time(), time.perf_counter()
    vectors = encoder.encode(texts)
    return 1000 * (time.process_time() - cpu) / len(texts), 1000 * (time.perf_counter() - wall) / len(texts), vectors


def quality(encoders: dict[str, TextEncoder], shop: ShopFolder, kept: Path) -> dict[str, Any]:
    """Agreement of vectors, and metrics of the items nearest to the histories of the validation."""
    window = text_window(shop.table("events")[0], shop.table("items")[0], shop.info, moments=1_000_000)
    vectors = {}
    for name, encoder in encoders.items():
        with CachedTextEncoder(encoder, kept) as cached:
            vectors[name] = cached.encode(list(window.texts.values()))
    cosines = (vectors["float32"] * vectors["int8"]).sum(axis=1)
    values = {name: window.values(its) for name, its in vectors.items()}
    told = compared(values["float32"], values["int8"])
    return {
        "texts": len(cosines),
        "cosine_mean": round(float(cosines.mean()), 4),
        "cosine_least": round(float(cosines.min()), 4),
        "moments": len(values["int8"]),
        **{
            name: {
                "float32": round(its["before"], 5),
                "int8": round(its["after"], 5),
                "change_percent": round(100 * (its["after"] / its["before"] - 1), 2),
                "interval_percent": [round(100 * bound / its["before"], 2) for bound in its["interval"]],
            }
            for name, its in told.items()
            if name in ("hr_10", "ndcg_10")
        },
    }


def has_vnni() -> bool:
    """Whether the processor multiplies 8-bit integers in one instruction (Linux)."""
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and "vnni" in flags.read_text()


if __name__ == "__main__":
    main()
