import json

import numpy as np
import polars as pl
import pytest

from index.errors import ModelFolderError
from index.live import SLACK
from index.nearest import IVF_FROM, VISITED_MOST, Kind
from index.snapshot import SearchSettings, Snapshot
from index.vocabulary import Vocabulary
from tests.suites.vector_index_suite import FAMILIES, WIDTH, crowd

CPU = SearchSettings(gpu=False)
FILES = ["index.json", "vectors.parquet", "vectors.npy"]


def made(kind: Kind, settings: SearchSettings = CPU, *, each: int = 40, backwards: bool = False):
    vectors, queries = crowd(each)
    names = [f"{number:05d}" for number in range(len(vectors))]
    vocabulary = Vocabulary(names[::-1] if backwards else names)
    codes = vocabulary.codes(names)
    return Snapshot.build(vocabulary, codes, vectors, kind, settings), vocabulary, vectors, queries


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("mmap", [True, False])
def test_what_is_saved_is_opened_with_other_numbers(tmp_path, kind, mmap):
    snapshot, vocabulary, vectors, queries = made(kind)
    assert snapshot.kind == kind
    assert snapshot.save(tmp_path, vocabulary) == (FILES if kind is Kind.FLAT else [*FILES, "index.faiss"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(snapshot.save(tmp_path, vocabulary))
    other = Vocabulary(["stranger", "00007"])
    opened = Snapshot.open(tmp_path, other, CPU, mmap=mmap)
    assert (opened.kind, len(opened), opened.longest) == (kind, 2000, snapshot.longest)
    assert isinstance(opened.vectors.base, np.memmap) == mmap
    assert np.array_equal(opened.vectors, vectors)
    assert opened.home[other.code("stranger")] == -1
    assert opened.home[1] == 7
    assert other.ids(opened.codes) == vocabulary.ids(snapshot.codes)
    for one, two in zip(snapshot.nearest.search(queries, 30), opened.nearest.search(queries, 30), strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("kind", Kind)
def test_equal_items_give_equal_bytes_whatever_their_numbers(tmp_path, kind):
    for name, backwards in (("one", False), ("two", True)):
        (tmp_path / name).mkdir()
        snapshot, vocabulary, _, _ = made(kind, backwards=backwards)
        files = snapshot.save(tmp_path / name, vocabulary)
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_few_rows_are_flat():
    assert made(Kind.IVF_PQ, each=IVF_FROM // FAMILIES - 1)[0].kind == Kind.FLAT
    assert made(Kind.IVF_PQ, each=IVF_FROM // FAMILIES)[0].kind == Kind.IVF_PQ


def test_where_lists_do_not_help_it_is_flat():
    """Noise: the nearest of a point are in all lists."""
    noise = np.random.default_rng(0).normal(size=(3000, 64)).astype(np.float32)
    vocabulary = Vocabulary(map(str, range(3000)))
    codes = np.arange(3000, dtype=np.int32)
    assert Snapshot.build(vocabulary, codes, noise, Kind.IVF_PQ, CPU).kind == Kind.FLAT
    many = 2 * VISITED_MOST + 1
    noise = np.random.default_rng(0).normal(size=(many, 8)).astype(np.float32)
    vocabulary = Vocabulary(map(str, range(many)))
    bounded = Snapshot.build(
        vocabulary, np.arange(many, dtype=np.int32), noise, Kind.IVF_PQ, SearchSettings(recall=1.0, gpu=False)
    )
    assert bounded.kind == Kind.IVF_PQ
    assert bounded.lists.probes * many / bounded.lists.index.nlist <= VISITED_MOST


def test_more_recall_visits_more_lists():
    probes = [made(Kind.IVF_PQ, SearchSettings(recall=recall, gpu=False))[0].lists.probes for recall in (0.3, 0.95)]
    assert probes[0] < probes[1]


def test_emphasis_changes_no_score():
    vectors, _ = crowd(40)
    weights = np.linspace(4, 0.25, WIDTH)
    emphasised = made(Kind.IVF_PQ, SearchSettings(emphasis=tuple(weights.tolist()), gpu=False))[0]
    assert emphasised.kind == Kind.IVF_PQ
    queries = (vectors[:20] * weights).astype(np.float32)
    scores, rows = emphasised.nearest.search(queries, 5 * emphasised.nearest.refine + SLACK, effort=9)
    true = np.take_along_axis(queries @ vectors.T, rows, axis=1)
    assert np.abs(scores - true)[:, :5].max() < 0.25  # half a byte for two dimensions
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :5]
    assert np.mean([np.isin(right, near).mean() for right, near in zip(truth, rows, strict=True)]) > 0.9


def test_settings_are_checked():
    with pytest.raises(ValueError, match="threads 0"):
        SearchSettings(threads=0)
    for recall in (0, 1.1):
        with pytest.raises(ValueError, match="recall"):
            SearchSettings(recall=recall)
    with pytest.raises(ValueError, match="expected above 0"):
        SearchSettings(emphasis=(1.0, 0.0))
    with pytest.raises(ValueError, match=f"expected {WIDTH}, one a dimension"):
        made(Kind.FLAT, SearchSettings(emphasis=(1.0, 2.0), gpu=False))


@pytest.mark.parametrize("name", [*FILES, "index.faiss"])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, name):
    snapshot, vocabulary, _, _ = made(Kind.IVF_PQ)
    snapshot.save(tmp_path, vocabulary)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:60])
    with pytest.raises(ModelFolderError, match="build it anew"):
        Snapshot.open(tmp_path, Vocabulary(), CPU)
    (tmp_path / name).unlink()
    with pytest.raises(ModelFolderError, match="build it anew"):
        Snapshot.open(tmp_path, Vocabulary(), CPU)


def test_files_that_do_not_fit_each_other_are_refused(tmp_path):
    snapshot, vocabulary, vectors, _ = made(Kind.IVF_PQ)
    snapshot.save(tmp_path, vocabulary)
    about = json.loads((tmp_path / "index.json").read_text())

    def refused(match: str) -> None:
        with pytest.raises(ModelFolderError, match=match):
            Snapshot.open(tmp_path, Vocabulary(), CPU)
        snapshot.save(tmp_path, vocabulary)

    (tmp_path / "index.json").write_text(json.dumps({**about, "format": 99}))
    refused("index format 99")
    (tmp_path / "index.json").write_text(json.dumps({**about, "kind": "hnsw"}))
    refused("hnsw")
    np.save(tmp_path / "vectors.npy", vectors.astype(np.float64))
    refused("float64")
    np.save(tmp_path / "vectors.npy", vectors[:-1])
    refused("expected .2000, 24.")
    pl.DataFrame({"item_id": ["one"] * 2000}).write_parquet(tmp_path / "vectors.parquet")
    refused("1 of them distinct")
    made(Kind.IVF_PQ, each=30)[0].save(tmp_path, vocabulary)
    fewer = (tmp_path / "index.faiss").read_bytes()
    snapshot.save(tmp_path, vocabulary)
    (tmp_path / "index.faiss").write_bytes(fewer)
    refused("holds 1500 rows")
