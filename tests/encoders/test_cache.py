import logging
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest

from encoders.cache import KEYS_PER_QUERY, CachedTextEncoder
from encoders.text import DummyTextEncoder
from tests.suites.text_suite import TextSuite


class Recorder(DummyTextEncoder):
    """Says which texts it was asked for."""

    def __init__(self):
        self.texts = []

    def encode(self, texts):
        self.texts += texts
        return super().encode(texts)


@pytest.fixture
def inner():
    return Recorder()


class TestCachedTextEncoder(TextSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder, self.made = tmp_path, []
        yield
        for encoder in self.made:
            encoder.close()

    def make(self):
        self.made.append(CachedTextEncoder(DummyTextEncoder(), self.folder))
        return self.made[-1]


def test_each_text_is_encoded_once_in_a_life(inner, tmp_path):
    with CachedTextEncoder(inner, tmp_path / "new" / "folder") as cached:
        first = cached.encode(["tea", "mug", "tea"])
        cached.encode(["mug", "milk"])
    with CachedTextEncoder(inner, tmp_path / "new" / "folder") as cached:
        again = cached.encode(["tea", "mug", "tea"])
    assert inner.texts == ["tea", "mug", "milk"]
    assert first.tobytes() == again.tobytes() == DummyTextEncoder().encode(["tea", "mug", "tea"]).tobytes()


def test_memory_alone_will_do(inner):
    with CachedTextEncoder(inner, None) as cached:
        cached.encode(["tea"])
        cached.encode(["tea"])
    assert inner.texts == ["tea"]
    assert cached.dimension == 64
    assert cached.digest == DummyTextEncoder.digest


def test_memory_drops_what_was_used_least_recently(inner):
    cached = CachedTextEncoder(inner, None, memory=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        cached.encode([text])
    assert inner.texts == ["a", "b", "c", "b"]


def test_a_call_may_hold_more_texts_than_memory_or_a_query_takes(inner, tmp_path):
    texts = [f"text {number}" for number in range(3 * KEYS_PER_QUERY)]
    with CachedTextEncoder(inner, tmp_path, memory=10) as cached:
        first = cached.encode(texts)
        second = cached.encode(texts)
    assert len(inner.texts) == len(texts)
    assert first.tobytes() == second.tobytes() == DummyTextEncoder().encode(texts).tobytes()


def test_models_do_not_mix(inner, tmp_path):
    class Other(Recorder):
        digest = "f" * 16

    for encoder in (inner, other := Other()):
        with CachedTextEncoder(encoder, tmp_path) as cached:
            cached.encode(["tea"])
    assert inner.texts == other.texts == ["tea"]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".sqlite", ".sqlite"]


@pytest.mark.parametrize("harm", ["rubbish", "middle"])
def test_a_damaged_file_is_set_aside_with_a_warning(inner, tmp_path, caplog, harm):
    texts = [f"text {number}" for number in range(400)]
    with CachedTextEncoder(inner, tmp_path) as cached:
        cached.encode(texts)
    (path,) = tmp_path.glob("*.sqlite")
    content = bytearray(path.read_bytes())
    if harm == "rubbish":
        path.write_bytes(b"no database at all" * 100)
    else:
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
    with CachedTextEncoder(inner, tmp_path) as cached, caplog.at_level(logging.WARNING):
        assert cached.encode(texts).tobytes() == DummyTextEncoder().encode(texts).tobytes()
    assert "damaged" in caplog.text
    assert list(tmp_path.glob("*.damaged-*"))
    inner.texts.clear()
    with CachedTextEncoder(inner, tmp_path) as cached:
        cached.encode(texts)
    assert inner.texts == []


def test_a_vector_of_the_wrong_length_is_encoded_anew(inner, tmp_path):
    with CachedTextEncoder(inner, tmp_path) as cached:
        cached.encode(["tea"])
    (path,) = tmp_path.glob("*.sqlite")
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE vectors SET vector = x'0102'")
    connection.close()
    for _ in range(2):
        with CachedTextEncoder(inner, tmp_path) as cached:
            assert cached.encode(["tea"]).tobytes() == DummyTextEncoder().encode(["tea"]).tobytes()
    assert inner.texts == ["tea", "tea"]


def test_a_folder_that_cannot_be_made_costs_the_cache_alone(inner, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        cached = CachedTextEncoder(inner, tmp_path / "file" / "cache")
        for text in ("tea", "mug"):
            assert cached.encode([text]).shape == (1, 64)
    assert len(caplog.records) == 1
    assert "cannot be used" in caplog.text


def test_a_full_disk_is_told_once_and_encoding_goes_on(inner, tmp_path, caplog):
    with CachedTextEncoder(inner, tmp_path) as cached, caplog.at_level(logging.WARNING):
        cached.encode(["before"])
        cached._disk._connection.execute("PRAGMA max_page_count = 1")  # SQLite then says that the disk is full
        texts = [f"text {number}" for number in range(300)]
        assert cached.encode(texts).tobytes() == DummyTextEncoder().encode(texts).tobytes()
        cached.encode(["after"])
    assert [record.message.count("disk is full") for record in caplog.records] == [1]


def test_several_processes_share_a_file(tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        "from encoders.cache import CachedTextEncoder; from encoders.text import DummyTextEncoder\n"
        "with CachedTextEncoder(DummyTextEncoder(), Path(sys.argv[1])) as cached:\n"
        "    for start in range(0, 400, 5):\n"
        "        cached.encode([f'{sys.argv[2]} {n}' for n in range(start, start + 5)] + [f'both {start}'])\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], stderr=subprocess.PIPE, text=True)
        for name in ("one", "two", "three")
    ]
    assert [process.communicate()[1] for process in running] == ["", "", ""]
    inner = Recorder()
    with CachedTextEncoder(inner, tmp_path) as cached:
        cached.encode([f"{name} {n}" for name in ("one", "two", "three") for n in range(400)] + ["both 395"])
    assert inner.texts == []


def test_several_threads_share_an_encoder(tmp_path):
    failures = []

    def work(name):
        try:
            for number in range(60):
                texts = [f"{name} {number}", f"both {number}"]
                assert cached.encode(texts).tobytes() == DummyTextEncoder().encode(texts).tobytes()
        except BaseException as exc:
            failures.append(exc)

    with CachedTextEncoder(DummyTextEncoder(), tmp_path, memory=20) as cached:
        threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two", "three")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_after_closing_it_encodes_on(inner, tmp_path):
    cached = CachedTextEncoder(inner, tmp_path, memory=1)
    cached.encode(["tea"])
    cached.close()
    cached.close()
    assert np.array_equal(cached.encode(["mug", "tea"]), DummyTextEncoder().encode(["mug", "tea"]))
    assert inner.texts == ["tea", "mug"]
