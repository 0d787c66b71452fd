"""Training of a sequence network: sampled softmax over sessions, stopped where sessions set aside gain no more."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn import functional

from encoders.errors import EncoderError
from encoders.sequence.gru import features
from encoders.sequence.network import SequenceNetwork
from encoders.sequence.settings import EXTRAS, LONGEST, SequenceSettings
from encoders.sequence.space import SequenceSpace, first_axes
from encoders.session import Vector

Codes = NDArray[np.int64]
Note = Callable[[int, int], None]
"""Hears of the epochs that are done, and of how many at most."""

ASIDE = 10
"""One session in so many is set aside to tell when to stop: of each its last item is asked for and not learned."""
MOST_ASKED = 2000
TOGETHER = 20
"""Batches whose sessions are sorted by length, so that those of a batch are of like length."""
DISTILLED = 0.5
"""What the teacher's opinion weighs beside what really came."""
DEPTH = 10


class Session(NamedTuple):
    """Items of one session, in time order."""

    codes: Codes
    told: Vector
    """(n, EXTRAS): see `gru.features`."""

    @classmethod
    def of(cls, codes: Codes, kinds: Sequence[str], times: Sequence[int]) -> Session:
        """From a session's events on items; times in ms."""
        gaps = np.diff(np.asarray(times, np.int64), prepend=times[:1]).tolist()
        return cls(codes, features(kinds, gaps))


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure over the epochs."""

    network: str
    loss: list[float] = field(default_factory=list)
    """Of each epoch, on what is learned."""
    ndcg_10: list[float] = field(default_factory=list)
    """Of each epoch, on the sessions set aside, among all items."""
    cpu_s: list[float] = field(default_factory=list)
    """Processor time by the end of each epoch."""


def device_of(told: str) -> str:
    """`cpu` or `cuda`, of these two and `auto`: a GPU where there is one.

    Raises:
        EncoderError: a GPU is asked for where there is none.
    """
    there = torch.cuda.is_available()
    if told == "cuda" and not there:
        raise EncoderError("device cuda, and torch sees no GPU here; leave it away, or name cpu")
    return "cuda" if there and told != "cpu" else "cpu"


def fit_sequence(
    item_ids: Sequence[str],
    texts: Vector,
    sessions: Sequence[Session],
    settings: SequenceSettings,
    *,
    device: str = "cpu",
    checkpoints: Path | None = None,
    note: Note = lambda _done, _total: None,
) -> tuple[SequenceSpace | None, list[Curve]]:
    """The space of what comes next in these sessions; None where there is nothing to learn from.

    Equal input gives equal numbers on one machine, as long as time does not run out. About 10 s of one core an epoch
    for 100,000 events.

    Args:
        item_ids: each once; codes of the sessions are places in them.
        texts: (items, whitened dimension), of length 1 or zeros.
        sessions: in time order; of those of two events and more the newest `settings.most` are learned from.
        device: `cpu`, or `cuda` where there is one.
        checkpoints: a folder in which training leaves where it stands after each epoch, and goes on from there.
    """
    used = [part for session in sessions for part in _pieces(session)][-settings.most :]
    if len(used) < ASIDE or len(item_ids) < 2:
        return None, []
    axes = first_axes(texts, settings.text if texts.any() else 0)
    if not axes.shape[1]:
        settings = replace(settings, text=0, free=settings.dimension)
    lessons, exam = _parted(used)
    curves, teacher = [], None
    total = settings.epochs * (1 + (settings.teacher == "bert"))
    for number, kind in enumerate(["bert", "gru"] if settings.teacher == "bert" else ["gru"]):
        torch.manual_seed(settings.seed)
        network = SequenceNetwork(axes, settings, kind).to(device)
        if teacher is not None:
            network.table.load_state_dict(teacher.table.state_dict())
        run = _Run(network, lessons, exam, settings, device, teacher)
        place = None if checkpoints is None else checkpoints / f"{run.digest}.safetensors"
        curve = run.train(kind, place, lambda done, at=number: note(at * settings.epochs + done, total))  # type: ignore[misc]
        curves.append(curve)
        teacher = network
    space = SequenceSpace(item_ids, network.table.free.detach().cpu().numpy(), axes.shape[1], network.weights())
    return space, curves


def _pieces(session: Session) -> list[Session]:
    """A session in pieces of LONGEST + 1 at most, each beginning where the one before ended."""
    starts = range(0, max(1, len(session.codes) - 1), LONGEST)
    pieces = [Session(session.codes[at : at + LONGEST + 1], session.told[at : at + LONGEST + 1]) for at in starts]
    return [piece for piece in pieces if len(piece.codes) >= 2]


def _parted(sessions: Sequence[Session]) -> tuple[list[Session], list[Session]]:
    """Those to learn from, and those set aside, of which all but the last item is learned."""
    lessons: list[Session] = []
    exam: list[Session] = []
    for place, session in enumerate(sessions):
        if place % ASIDE or len(exam) >= MOST_ASKED:
            lessons.append(session)
        else:
            exam.append(session)
            if len(session.codes) > 2:
                lessons.append(Session(session.codes[:-1], session.told[:-1]))
    return lessons, exam


class _Run:
    """One network's training."""

    def __init__(
        self,
        network: SequenceNetwork,
        lessons: Sequence[Session],
        exam: Sequence[Session],
        settings: SequenceSettings,
        device: str,
        teacher: SequenceNetwork | None,
    ) -> None:
        self._network, self._lessons, self._exam = network, lessons, exam
        self._settings, self._device, self._teacher = settings, device, teacher
        self._steps = -(-len(lessons) // settings.batch)
        self._epochs = settings.epochs
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.decay
        )
        content = hashlib.blake2b(repr((asdict(settings), len(exam), teacher is None)).encode(), digest_size=16)
        content.update(network.table.text.cpu().numpy().tobytes())
        for session in lessons:
            content.update(session.codes.tobytes())
            content.update(session.told.tobytes())
        self.digest = content.hexdigest()

    def train(self, name: str, checkpoint: Path | None, note: Callable[[int], None]) -> Curve:
        """Leaves the network as it was after its best epoch."""
        curve, best, begun = Curve(name), -1.0, 0
        kept = _copy(self._network)
        if checkpoint is not None and checkpoint.is_file():
            curve, kept, begun = self._resumed(checkpoint, name)
            best = max(curve.ndcg_10)
        since = time.process_time()
        for epoch in range(begun, self._settings.epochs):
            self._fit_into(self._settings.budget_s, curve.cpu_s)
            waited = len(curve.ndcg_10) - 1 - int(np.argmax(curve.ndcg_10)) if curve.ndcg_10 else 0
            if waited >= self._settings.patience or epoch >= self._epochs:
                break
            curve.loss.append(self._epoch(epoch))
            curve.ndcg_10.append(self._examined())
            now = time.process_time()
            curve.cpu_s.append((curve.cpu_s[-1] if curve.cpu_s else 0.0) + now - since)
            since = now
            if curve.ndcg_10[-1] > best:
                best, kept = curve.ndcg_10[-1], _copy(self._network)
            if checkpoint is not None:
                self._leave(checkpoint, curve, kept)
            note(epoch + 1)
        note(self._settings.epochs)
        self._network.load_state_dict(kept)
        self._network.eval()
        return curve

    def _epoch(self, epoch: int) -> float:
        """Every lesson once; the mean loss. What is drawn depends on seed and epoch alone."""
        settings, network = self._settings, self._network
        source = np.random.default_rng((settings.seed, epoch))
        torch.manual_seed(settings.seed * 1000 + epoch)
        network.train()
        total, count = 0.0, 0
        for step, batch in enumerate(_batches(self._lessons, settings.batch, source)):
            for group in self._optimizer.param_groups:
                group["lr"] = settings.learning_rate * self._pace(epoch * self._steps + step)
            codes, told, there = self._padded([Session(each.codes[:-1], each.told[:-1]) for each in batch])
            targets = torch.from_numpy(np.concatenate([each.codes[1:] for each in batch])).to(self._device)
            drawn = source.integers(0, len(network.table.free), settings.negatives)
            negatives = torch.from_numpy(drawn).to(self._device)
            found = network(codes, told, there)[there]
            loss = network.loss(found, targets, negatives)
            if self._teacher is not None:
                loss = loss + DISTILLED * self._taught(found, codes, told, there, negatives)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            self._optimizer.step()
            total, count = total + float(loss.detach()) * len(targets), count + len(targets)
        return total / max(count, 1)

    def _pace(self, step: int) -> float:
        """Of the learning rate: up over the first twentieth of the steps, then down by a cosine."""
        whole = self._steps * self._epochs
        warm = max(1, whole // 20)
        if step < warm:
            return (step + 1) / warm
        return 0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(1, whole - warm))))

    def _fit_into(self, budget_s: float, cpu_s: Sequence[float]) -> None:
        """Plans fewer epochs where those that are done say that not all will be over in time, so that the learning rate
        has come down by then."""
        for done, spent in enumerate(cpu_s, 1):
            self._epochs = min(self._epochs, max(done, int(budget_s * done / max(spent, 1e-9))))

    def _taught(
        self, found: torch.Tensor, codes: torch.Tensor, told: torch.Tensor, there: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """How far the network's opinion of some items is from its teacher's: Kullback-Leibler divergence."""
        teacher = self._teacher
        if teacher is None:
            raise TypeError("no teacher")
        with torch.no_grad():
            wise = teacher(codes, told, there)[there]
            opinion = functional.softmax(wise @ teacher.table(items).T * teacher.scale(), dim=1)
        own = functional.log_softmax(found @ self._network.table(items).T * self._network.scale(), dim=1)
        return functional.kl_div(own, opinion, reduction="batchmean")

    def _examined(self) -> float:
        """NDCG@10 of the last item of each session set aside, among all items, those of the session left out unless it
        comes again."""
        network = self._network
        network.eval()
        gained = 0.0
        with torch.no_grad():
            items = network.table.all()
            for start in range(0, len(self._exam), 256):
                part = self._exam[start : start + 256]
                codes, told, there = self._padded([Session(each.codes[:-1], each.told[:-1]) for each in part])
                last = torch.tensor([len(each.codes) - 2 for each in part], device=self._device)
                found = network(codes, told, there)[torch.arange(len(part), device=self._device), last]
                scores = (found @ items.T).cpu().numpy()
                for row, each in zip(scores, part, strict=True):
                    target = row[each.codes[-1]]
                    row[each.codes[:-1]] = -np.inf
                    rank = int((row > target).sum())
                    gained += 1 / np.log2(rank + 2) if rank < DEPTH else 0.0
        return gained / len(self._exam)

    def _padded(self, sessions: Sequence[Session]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        longest = max(len(session.codes) for session in sessions)
        codes = np.zeros((len(sessions), longest), np.int64)
        told = np.zeros((len(sessions), longest, EXTRAS), np.float32)
        there = np.zeros((len(sessions), longest), np.bool_)
        for row, session in enumerate(sessions):
            size = len(session.codes)
            codes[row, :size], told[row, :size], there[row, :size] = session.codes, session.told, True
        return tuple(torch.from_numpy(each).to(self._device) for each in (codes, told, there))  # type: ignore[return-value]

    def _leave(self, path: Path, curve: Curve, kept: dict[str, torch.Tensor]) -> None:
        """Writes where training stands, beside its place and then into it."""
        tensors = {f"now.{name}": tensor for name, tensor in _copy(self._network).items()}
        tensors |= {f"best.{name}": tensor for name, tensor in kept.items()}
        for number, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
        for name in ("loss", "ndcg_10", "cpu_s"):
            tensors[f"curve.{name}"] = torch.tensor(getattr(curve, name), dtype=torch.float64)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, beside)
        beside.replace(path)

    def _resumed(self, path: Path, name: str) -> tuple[Curve, dict[str, torch.Tensor], int]:
        """Goes on from what `_leave` wrote.

        Raises:
            EncoderError: the file is not whole.
        """
        try:
            tensors = load_file(path, device=self._device)
            self._network.load_state_dict(_under("now.", tensors))
            state: dict[int, dict[str, torch.Tensor]] = {}
            for told, tensor in _under("adam.", tensors).items():
                number, _, part = told.partition(".")
                state.setdefault(int(number), {})[part] = tensor
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": state, "param_groups": groups})
            curve = Curve(name, *(tensors[f"curve.{part}"].tolist() for part in ("loss", "ndcg_10", "cpu_s")))
            return curve, _under("best.", tensors), len(curve.loss)
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as exc:
            raise EncoderError(f"{path}: no checkpoint of this training ({exc}); delete it and train again") from exc


def _batches(sessions: Sequence[Session], size: int, source: np.random.Generator) -> list[list[Session]]:
    """All sessions in batches of like length, in random order."""
    order = source.permutation(len(sessions))
    lengths = np.array([len(session.codes) for session in sessions])
    batches = []
    for start in range(0, len(order), size * TOGETHER):
        chunk = order[start : start + size * TOGETHER]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches += [chunk[at : at + size] for at in range(0, len(chunk), size)]
    return [[sessions[place] for place in batches[number].tolist()] for number in source.permutation(len(batches))]


def _copy(network: SequenceNetwork) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
