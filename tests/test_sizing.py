"""The sizing page: its tables are what the script computes, and what it computes follows from the constants."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "sizing.py"


@pytest.fixture(scope="module")
def sizing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sizing_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_scripts_tables(sizing: ModuleType) -> None:
    page = (ROOT / "docs" / "sizing.md").read_text()
    for table in sizing.tables(sizing.values()).strip().split("\n\n"):
        assert table in page, "docs/sizing.md is stale: put in what `python benchmarks/sizing.py` prints"


def test_workers_by_hand(sizing: ModuleType) -> None:
    """1,000 events/s at 1 ms each: of .6 of a core .1 goes into what all teach; so 2 that work, and 1 to spare."""
    told = sizing.values({"cpu_us_per_event": 1000, "lesson_us": 80, "lesson_client_us": 20})
    need = sizing.sized(1000, 50_000, 0, told)
    assert (need.workers, need.cores, need.partitions) == (3, 6, 8)
    told |= {"worker_mb": 500, "session_bytes_in_memory": 2000, "item_bytes": 10_000}
    assert sizing.sized(1000, 50_000, 0, told).memory_gb_per_worker == pytest.approx(0.5 + 25_000 * 2000 / 1e9)
    assert sizing.sized(1000, 50_000, 1e6, told).memory_gb_per_worker == pytest.approx(10.5 + 0.05)
    told |= {"state_cache": 1000}
    assert sizing.sized(1000, 50_000, 0, told).memory_gb_per_worker == pytest.approx(0.5 + 0.002)


def test_kafka_by_hand(sizing: ModuleType) -> None:
    changes = {"event_bytes": 100, "learned_bytes": 100, "state_bytes": 600, "prediction_bytes": 1000}
    changes |= {"predictions_per_event": 0.5, "suppressed_per_event": 0, "copies": 3, "retention_days": 1}
    need = sizing.sized(100, 1000, 0, sizing.values(changes | {"mean_over_peak": 1, "cpu_us_per_event": 1000}))
    assert need.kafka_in_mb_per_s == pytest.approx(100 * (100 + 100 + 500 + 600 + 500) / 1e6)
    assert need.kafka_out_mb_per_s == pytest.approx(100 * (100 + need.workers * 100) / 1e6)
    assert need.kafka_disk_gb == pytest.approx(100 * 86_400 * 700 * 3 / 1e9)


def test_texts_on_a_gpu_are_told_only_where_one_was_measured(sizing: ModuleType) -> None:
    assert sizing.sized(1000, 1, 1, sizing.values()).text_gpus is None
    told = sizing.values({"gpu_texts_per_s": 1000, "text_share": 0.3, "utilisation": 0.5, "text_ms": 2})
    assert sizing.sized(1000, 1, 1, told).text_gpus == pytest.approx(0.6)
    assert sizing.sized(1000, 1, 1, told).text_cores == pytest.approx(1.2)


def test_a_sharded_index_by_hand(sizing: ModuleType) -> None:
    changes = {"pq_bytes": 56, "shard_gb": 4, "utilisation": 0.5, "lists": 1000, "probes": 10, "vector_dimensions": 100}
    cut = sizing.sharded(1000, 1e8, sizing.values(changes | {"flops_per_us": 1000, "pq_codes_per_us": 1000}))
    assert (cut.codes_gb, cut.refinement_gb, cut.shards) == (6.4, 10.0, 4)
    assert cut.search_us == pytest.approx(200 + 1000)
    assert cut.search_cores == pytest.approx(2.4)


def test_more_of_anything_needs_no_less(sizing: ModuleType) -> None:
    told = sizing.values()
    workers = [sizing.sized(rate, 1000, 1000, told).workers for rate in (10, 100, 1000, 5000, 10_000)]
    assert workers == sorted(workers)
    memory = [sizing.sized(1000, 1000, items, told).memory_gb_per_worker for items in (1e4, 1e5, 1e6)]
    assert memory == sorted(memory)
    assert workers[0] < workers[-1]


def test_where_learning_alone_takes_the_core_it_says_so(sizing: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"what all teach takes more of each worker than 0\.6 of a core"):
        sizing.sized(20_000, 1, 1, sizing.values())


def test_an_unknown_constant_is_refused(sizing: ModuleType) -> None:
    with pytest.raises(ValueError, match="cpu: no such constant, expected some of cpu_us_per_event"):
        sizing.values({"cpu": 1})


def test_the_command_takes_a_load_and_other_constants() -> None:
    options = ["--rate", "1k", "--items", "1M", "--set", "cpu_us_per_event=500"]
    done = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, timeout=60, check=True)
    assert '"workers": 2,' in done.stdout
    assert '"shards": 1,' in done.stdout
