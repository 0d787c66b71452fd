"""The four session encoders: pooled, GRU, BERT over items' vectors, BERT over the session's words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from encoders.bert import BertTextEncoder
from encoders.cache import CachedTextEncoder
from encoders.errors import EncoderError
from encoders.sequence.lessons import Session
from encoders.sequence.network import Batch, SequenceNetwork
from encoders.sequence.reading import Reader, read_sessions, reader_of
from encoders.sequence.settings import EXTRAS, NETWORKS, SequenceSettings
from encoders.sequence.space import SequenceSpace
from encoders.sequence.training import fit_sequence
from encoders.session import PooledSessionEncoder, SessionEncoder
from encoders.text import DummyTextEncoder
from tests.suites.session_network_suite import POOLED, TITLES, WIDTH, SessionNetworkSuite, seen
from tests.tiny_bert import tiny_bert

SMALL = SequenceSettings(
    text=4, free=WIDTH - 4, hidden=8, epochs=12, batch=16, negatives=8, learning_rate=0.02, dropout=0.0, patience=12
)
READING = 16


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> BertTextEncoder:
    return BertTextEncoder(str(tiny_bert(tmp_path_factory.mktemp("tiny"))), device="cpu", max_tokens=24)


def network(kind: str) -> SequenceNetwork:
    torch.manual_seed(3)
    texts = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
    return SequenceNetwork(texts / np.linalg.norm(texts, axis=1, keepdims=True), SMALL, kind, READING).eval()


def space(kind: str) -> SequenceSpace:
    return SequenceSpace(["a", "b"], np.eye(2, WIDTH - 4, dtype=np.float32), 4, network(kind).weights())


def read_again(kind: str, folder: Path) -> SequenceSpace:
    space(kind).save(folder / "space")
    return SequenceSpace.load(folder / "space")


class TestPooled(SessionNetworkSuite):
    def make(self, folder: Path) -> SessionEncoder:
        return PooledSessionEncoder(POOLED + WIDTH)


class TestGru(SessionNetworkSuite):
    def make(self, folder: Path) -> SessionEncoder:
        return read_again("gru", folder).encoder(POOLED)


class TestBert(SessionNetworkSuite):
    EXACT = False

    def make(self, folder: Path) -> SessionEncoder:
        return read_again("bert", folder).encoder(POOLED)


class TestText(SessionNetworkSuite):
    EXACT = False

    @pytest.fixture(autouse=True)
    def _reader(self, reader: BertTextEncoder) -> None:
        self.reader = reader

    def make(self, folder: Path) -> SessionEncoder:
        return read_again("text", folder).encoder(POOLED, CachedTextEncoder(self.reader, None))


# ------------------------------------------------------------------------------------------------------------- bert
def test_a_bert_is_served_as_it_was_trained() -> None:
    made, history = network("bert"), seen(6)
    told = history._replace(kinds=["view", "purchase", "exit", "cart_add", "click", "search"])
    codes = torch.tensor([[3, 7, 7, 1, 0, 11]])
    with torch.no_grad():
        items = made.table(codes[0]).numpy()
    session = Session.of(codes[0].numpy(), told.kinds, np.cumsum(told.gaps).tolist())
    batch = Batch(codes, torch.from_numpy(session.told)[None], torch.ones(1, 6, dtype=torch.bool), torch.zeros(1, 6, 0))
    with torch.no_grad():
        expected = made(batch)[0].numpy()
    encoder = space("bert").encoder(POOLED)
    vectors = np.concatenate([told.items[:, :POOLED], items], axis=1)
    states = encoder.steps(encoder.start(), vectors, told.kinds, told.gaps)
    assert encoder.vectors(states)[:, POOLED:] == pytest.approx(expected, abs=1e-5)


def test_a_bert_looks_at_the_newest_events_that_a_session_keeps() -> None:
    encoder, history = space("bert").encoder(POOLED), seen(26)
    whole = encoder.steps(encoder.start(), *history)[-1]
    newest = encoder.steps(encoder.start(), *history.part(6, 26))[-1]
    assert whole[POOLED:].tobytes() == newest[POOLED:].tobytes()
    assert len(whole) == POOLED + 1 + 20 * (WIDTH + EXTRAS)


# ------------------------------------------------------------------------------------------------------------- text
def test_words_are_read_as_the_text_encoder_reads_them(reader: BertTextEncoder) -> None:
    texts = ["red mug 3", "blue kettle", "", "mug " * 60]
    rows = [reader.tokens(text) for text in texts]
    assert len(rows[3]) == reader.room == 22
    assert reader.read(rows) == pytest.approx(reader.encode(texts), abs=1e-5)


def test_the_newest_words_are_read_and_the_oldest_let_go(reader: BertTextEncoder) -> None:
    encoder, made = space("text").encoder(POOLED, reader), network("text")
    titles = [TITLES[n % len(TITLES)] for n in range(12)]  # of three words each, but for two
    history = seen(12)._replace(texts=titles)
    vector = encoder.vector(encoder.steps(encoder.start(), *history)[-1])[POOLED:]
    words = " ".join(titles).split()[-reader.room :]
    with torch.no_grad():
        expected = torch.nn.functional.normalize(made.out(torch.from_numpy(reader.encode([" ".join(words)]))), dim=-1)
    assert vector == pytest.approx(expected[0].numpy(), abs=1e-5)


def test_sessions_are_read_as_they_are_served_newest_first_while_there_is_time(reader: BertTextEncoder) -> None:
    sessions = [Session.of(np.array([n % 6, (n + 1) % 6, 4]), ["view"] * 3, [0, 1, 2]) for n in range(300)]
    titles = ["", *TITLES[1:]]
    found = read_sessions(sessions, titles, reader, 1e9)
    assert [each.codes.tolist() for each in found] == [each.codes.tolist() for each in sessions]
    first = found[0].read
    assert first is not None
    assert not first[0].any()
    assert first[1] == pytest.approx(reader.encode([TITLES[1]])[0], abs=1e-5)
    assert first[2] == pytest.approx(reader.encode([f"{TITLES[1]} {TITLES[4]}"])[0], abs=1e-5)
    some = read_sessions(sessions, titles, reader, 1e-9)
    assert len(some) == 86  # of three moments each, until there are 256
    assert [each.codes.tolist() for each in some] == [each.codes.tolist() for each in sessions[-len(some) :]]


def test_a_text_encoder_that_reads_no_tokens_is_named(reader: BertTextEncoder) -> None:
    assert isinstance(reader, Reader)
    assert reader_of(CachedTextEncoder(reader, None)) is reader
    for texts in (None, DummyTextEncoder(), CachedTextEncoder(DummyTextEncoder(), None)):
        with pytest.raises(EncoderError, match=r"expected a BERT.*--network gru"):
            space("text").encoder(POOLED, texts)


def test_on_a_cpu_it_says_that_it_will_be_slow(reader: BertTextEncoder, caplog: pytest.LogCaptureFixture) -> None:
    space("text").encoder(POOLED, reader)
    assert "40 to 80 ms an event" in caplog.text


# -------------------------------------------------------------------------------------------------- training, files
@pytest.mark.parametrize("kind", NETWORKS)
def test_each_learns_what_comes_next_and_serves_it(kind: str, reader: BertTextEncoder) -> None:
    titles = [f"{('red', 'blue', 'kettle', 'mug')[n % 4]} {n}" for n in range(12)]
    texts = reader.encode(titles)
    begun = np.random.default_rng(0).integers(0, 12, 240).tolist()
    rounds = [Session.of((at + np.arange(5)) % 12, ["view"] * 5, list(range(0, 5000, 1000))) for at in begun]
    lessons = read_sessions(rounds, titles, reader, 1e9) if kind == "text" else rounds
    its = SequenceSettings(**{name: getattr(SMALL, name) for name in SMALL.__slots__} | {"network": kind, "epochs": 25})
    space, curves, asked = fit_sequence([f"i{n}" for n in range(12)], texts, lessons, its)
    assert space is not None
    assert curves[0].network == space.weights.kind == kind
    assert asked.mean() > 0.6  # by chance .25
    encoder, items = space.encoder(1, reader), space.vectors([f"i{n}" for n in range(12)], texts)
    right = 0
    for start in range(12):
        places = (start + np.arange(3)) % 12
        vectors = np.concatenate([np.ones((3, 1), np.float32), items[places]], axis=1)
        states = encoder.steps(encoder.start(), vectors, ["view"] * 3, [0, 1000, 1000], [titles[at] for at in places])
        right += int(np.argmax(items @ encoder.vectors(states)[-1][1:])) == (start + 3) % 12
    assert right >= 6


def test_a_file_that_does_not_say_its_network_has_a_gru_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    space("gru").save(tmp_path / "new")
    save_file(load_file(tmp_path / "new"), tmp_path / "old")
    assert SequenceSpace.load(tmp_path / "old").digest == SequenceSpace.load(tmp_path / "new").digest
    save_file(load_file(tmp_path / "new"), tmp_path / "later", metadata={"network": "mamba"})
    with pytest.raises(EncoderError, match=r"network 'mamba', expected gru, bert, text.*train the model anew"):
        SequenceSpace.load(tmp_path / "later")


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_file_that_is_not_whole_is_named(kind: str, tmp_path: Path) -> None:
    space(kind).save(tmp_path / "space")
    tensors = load_file(tmp_path / "space")
    lost = next(name for name in tensors if name.startswith(f"{kind}.") and "out" in name)
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, tmp_path / "cut", {"network": kind})
    with pytest.raises(EncoderError, match="train the model anew"):
        SequenceSpace.load(tmp_path / "cut")
    tensors[lost] = np.full_like(tensors[lost], np.nan)
    save_file(tensors, tmp_path / "nan", {"network": kind})
    with pytest.raises(EncoderError, match="all finite"):
        SequenceSpace.load(tmp_path / "nan")


@pytest.mark.parametrize(("kind", "needed"), [("gru", "False"), ("bert", "True")])
def test_torch_is_imported_only_where_a_bert_is_served(kind: str, needed: str, tmp_path: Path) -> None:
    space(kind).save(tmp_path / "space")
    code = (
        "import sys, numpy as np, streaming.app; from pathlib import Path\n"
        "from encoders.sequence.space import SequenceSpace\n"
        f"encoder = SequenceSpace.load(Path({str(tmp_path / 'space')!r})).encoder(1)\n"
        "state = encoder.step(encoder.start(), np.ones(encoder.dimension, np.float32), 'view', 0)\n"
        "assert encoder.vector(state).any()\n"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == [needed, needed]


@pytest.mark.parametrize("wrong", [{"network": "lstm"}, {"network": "bert", "teacher": "bert"}])
def test_settings_that_are_none_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected a network of gru, bert, text"):
        SequenceSettings(**wrong)  # type: ignore[arg-type]
