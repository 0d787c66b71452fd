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
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from encoders.errors import EncoderError
from encoders.graph.facts import Fact
from encoders.sequence.joint import JointTerms, Triples
from encoders.sequence.lessons import ASIDE, Session, batches, parted, pieces
from encoders.sequence.network import Batch, SequenceNetwork
from encoders.sequence.settings import EXTRAS, SequenceSettings
from encoders.sequence.space import SequenceSpace, first_axes
from encoders.session import Vector

Note = Callable[[int, int], None]
"""Hears of the epochs that are done, and of how many at most."""

DISTILLED = 0.5
"""What the teacher's opinion weighs beside what really came."""
DEPTH = 10
COOLING = 3
"""Epochs over which the learning rate comes down once no more is gained."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure over the epochs."""

    network: str
    loss: list[float] = field(default_factory=list)
    """Of each epoch, on what is learned."""
    ndcg_10: list[float] = field(default_factory=list)
    """Of each epoch, on the sessions set aside, among all items."""
    cpu_s: list[float] = field(default_factory=list)
    """Processor time of the thread that trains, by the end of each epoch: others work beside it."""


def device_of(told: str) -> str:
    """`cpu` or `cuda`, of these two and `auto`: a GPU where there is one.

    Raises:
        EncoderError: a GPU is asked for where there is none.
    """
    there = torch.cuda.is_available()
    if told == "cuda" and not there:
        raise EncoderError("device cuda, and torch sees no GPU here; leave it away, or name cpu")
    return "cuda" if there and told != "cpu" else "cpu"


class Fitted(NamedTuple):
    """What came of a training."""

    space: SequenceSpace | None
    """None: there was nothing to learn from."""
    curves: list[Curve]
    asked: Vector
    """(n,): NDCG@10 of each session set aside, by the network that was taken; the sessions depend on the past alone."""


def fit_sequence(
    item_ids: Sequence[str],
    texts: Vector,
    sessions: Sequence[Session],
    settings: SequenceSettings,
    *,
    facts: Sequence[Sequence[Fact]] = (),
    device: str = "cpu",
    checkpoints: Path | None = None,
    note: Note = lambda _done, _total: None,
) -> Fitted:
    """The space of what comes next in these sessions, of the items that they had.

    Equal input gives equal numbers on one machine, as long as time does not run out. About 10 s of one core an epoch
    for 100,000 events. Not for two threads at once: torch has one source of chance.

    Of an item that no session had nothing is learned, not even what does not come: told apart from all that came, it
    would lie where no session looks, and a new item would never be found.

    Args:
        item_ids: each once; codes of the sessions are places in them.
        texts: (items, whitened dimension), of length 1 or zeros.
        sessions: in time order; of those of two events and more the newest `settings.most` are learned from. Where the
            network is one that reads, their words were read.
        facts: of each item, where `settings.joint` is not `no`; none: of no item.
        device: `cpu`, or `cuda` where there is one.
        checkpoints: a folder in which training leaves where it stands after each epoch, and goes on from there.
    """
    used = [part for session in sessions for part in pieces(session)][-settings.most :]
    met = np.unique(np.concatenate([session.codes for session in used])) if used else np.empty(0, np.int64)
    if len(used) < ASIDE or len(met) < 2:
        return Fitted(None, [], np.empty(0, np.float32))
    used = [session._replace(codes=np.searchsorted(met, session.codes)) for session in used]
    ids, texts = [item_ids[code] for code in met.tolist()], texts[met]
    its = [facts[code] for code in met.tolist()] if facts else [()] * len(met)
    axes = first_axes(texts, settings.text if texts.any() else 0)
    if not axes.shape[1]:
        settings = replace(settings, text=0, free=settings.dimension)
    lessons, exam = parted(used)
    reading = 0 if used[0].read is None else used[0].read.shape[1]
    curves, teacher, terms, asked = [], None, None, np.empty(0, np.float32)
    total = settings.epochs * (1 + (settings.teacher == "bert"))
    for number, kind in enumerate([*(["bert"] if settings.teacher == "bert" else []), settings.network]):
        torch.manual_seed(settings.seed)
        network = SequenceNetwork(axes, settings, kind, reading).to(device)
        if teacher is not None:
            network.table.load_state_dict(teacher.table.state_dict())
        if settings.joint == "yes":
            terms = JointTerms(texts, Triples.of(its), settings.free).to(device)
        run = _Run(network, lessons, exam, settings, device, teacher, terms)
        place = None if checkpoints is None else checkpoints / f"{run.digest}.safetensors"
        curve = run.train(kind, place, lambda done, at=number: note(at * settings.epochs + done, total))  # type: ignore[misc]
        curves.append(curve)
        asked, teacher = run.examined(), network
    free = network.table.free.detach().cpu().numpy()
    unmet = None if terms is None else terms.unmet(free, its)
    return Fitted(SequenceSpace(ids, free, axes.shape[1], network.weights(), unmet), curves, asked)


class _Kept(NamedTuple):
    """A network as it was after an epoch."""

    weights: dict[str, torch.Tensor]
    asked: Vector
    """(n,): NDCG@10 of each session set aside."""


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
        terms: JointTerms | None,
    ) -> None:
        self._network, self._lessons, self._exam = network, lessons, exam
        self._trained = nn.ModuleDict({"network": network})
        if terms is not None:
            self._trained["terms"] = terms
        self._terms = terms
        self._settings, self._device, self._teacher = settings, device, teacher
        self._steps = -(-len(lessons) // settings.batch)
        self._epochs = settings.epochs
        self._optimizer = torch.optim.AdamW(
            self._trained.parameters(), lr=settings.learning_rate, weight_decay=settings.decay, fused=True
        )
        content = hashlib.blake2b(repr((asdict(settings), len(exam), teacher is None)).encode(), digest_size=16)
        content.update(network.table.text.cpu().numpy().tobytes())
        for session in lessons:
            content.update(session.codes.tobytes())
            content.update(session.told.tobytes())
            content.update(b"" if session.read is None else session.read.tobytes())
        if terms is not None:
            content.update(terms.digest)
        self.digest = content.hexdigest()

    def train(self, name: str, checkpoint: Path | None, note: Callable[[int], None]) -> Curve:
        """Leaves the network as it is at the end, or as it was after its best epoch, where that was surely better: of
        epochs that differ by chance the last one learned most."""
        curve, kept, begun = Curve(name), _Kept(_copy(self._trained), np.empty(0, np.float32)), 0
        asked = kept.asked
        if checkpoint is not None and checkpoint.is_file():
            curve, kept, begun = self._resumed(checkpoint, name)
            asked = self.examined()
        since = time.thread_time()
        for epoch in range(begun, self._settings.epochs):
            self._plan(curve)
            if epoch >= self._epochs:
                break
            curve.loss.append(self._epoch(epoch))
            asked = self.examined()
            curve.ndcg_10.append(float(asked.mean(dtype=np.float64)))
            now = time.thread_time()
            curve.cpu_s.append((curve.cpu_s[-1] if curve.cpu_s else 0.0) + now - since)
            since = now
            if curve.ndcg_10[-1] >= max(curve.ndcg_10):
                kept = _Kept(_copy(self._trained), asked)
            if checkpoint is not None:
                self._leave(checkpoint, curve, kept)
            note(epoch + 1)
        note(self._settings.epochs)
        if _surely_more(kept.asked, asked):
            self._trained.load_state_dict(kept.weights)
        self._network.eval()
        return curve

    def _epoch(self, epoch: int) -> float:
        """Every lesson once; the mean loss. What is drawn depends on seed and epoch alone."""
        settings, network = self._settings, self._network
        source = np.random.default_rng((settings.seed, epoch))
        beside = np.random.default_rng((settings.seed, epoch, 1))  # so that clicks are drawn as without the terms
        torch.manual_seed(settings.seed * 1000 + epoch)
        network.train()
        total, count = 0.0, 0
        for step, drawn_from in enumerate(batches(self._lessons, settings.batch, source)):
            for group in self._optimizer.param_groups:
                group["lr"] = settings.learning_rate * self._pace(epoch * self._steps + step)
            batch = self._padded([each.part(0, -1) for each in drawn_from])
            targets = torch.from_numpy(np.concatenate([each.codes[1:] for each in drawn_from])).to(self._device)
            drawn = source.integers(0, len(network.table.free), settings.negatives)
            negatives = torch.from_numpy(drawn).to(self._device)
            found = network(batch)[batch.there]
            loss = network.loss(found, targets, negatives)
            if self._teacher is not None:
                loss = loss + DISTILLED * self._taught(found, batch, negatives)
            if self._terms is not None:
                loss = loss + self._told(self._terms, beside)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self._trained.parameters(), 1.0)
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

    def _plan(self, curve: Curve) -> None:
        """Plans fewer epochs where those that are done say that not all will be over in time, or that no more is
        gained: the learning rate comes down first, which is where much of the gain is."""
        settings = self._settings
        for done, spent in enumerate(curve.cpu_s, 1):
            self._epochs = min(self._epochs, max(done, int(settings.budget_s * done / max(spent, 1e-9))))
            if done - 1 - int(np.argmax(curve.ndcg_10[:done])) >= settings.patience:
                self._epochs = min(self._epochs, done + COOLING)

    def _told(self, terms: JointTerms, source: np.random.Generator) -> torch.Tensor:
        """What text and facts add to the loss."""
        settings, free = self._settings, self._network.table.free
        added = free.sum() * 0
        if settings.text_weight:
            added = added + settings.text_weight * terms.text_loss(free, source)
        if settings.graph_weight:
            added = added + settings.graph_weight * terms.graph_loss(free, source)
        return added

    def _taught(self, found: torch.Tensor, batch: Batch, items: torch.Tensor) -> torch.Tensor:
        """How far the network's opinion of some items is from its teacher's: Kullback-Leibler divergence."""
        teacher = self._teacher
        if teacher is None:
            raise TypeError("no teacher")
        with torch.no_grad():
            wise = teacher(batch)[batch.there]
            opinion = functional.softmax(wise @ teacher.table(items).T * teacher.scale(), dim=1)
        own = functional.log_softmax(found @ self._network.table(items).T * self._network.scale(), dim=1)
        return functional.kl_div(own, opinion, reduction="batchmean")

    def examined(self) -> Vector:
        """(sessions set aside,): NDCG@10 of the last item of each, among all items, those of the session left out
        unless it comes again."""
        network = self._network
        network.eval()
        gained = np.zeros(len(self._exam), np.float32)
        with torch.no_grad():
            items = network.table.all()
            for start in range(0, len(self._exam), 256):
                part = self._exam[start : start + 256]
                batch = self._padded([each.part(0, -1) for each in part])
                last = torch.tensor([len(each.codes) - 2 for each in part], device=self._device)
                found = network(batch)[torch.arange(len(part), device=self._device), last]
                scores = (found @ items.T).cpu().numpy()
                for place, (row, each) in enumerate(zip(scores, part, strict=True), start):
                    target = row[each.codes[-1]]
                    row[each.codes[:-1]] = -np.inf
                    rank = int((row > target).sum())
                    gained[place] = 1 / np.log2(rank + 2) if rank < DEPTH else 0.0
        return gained

    def _padded(self, sessions: Sequence[Session]) -> Batch:
        longest = max(len(session.codes) for session in sessions)
        codes = np.zeros((len(sessions), longest), np.int64)
        told = np.zeros((len(sessions), longest, EXTRAS), np.float32)
        there = np.zeros((len(sessions), longest), np.bool_)
        read = np.zeros((len(sessions), longest, self._network.reading), np.float32)
        for row, session in enumerate(sessions):
            size = len(session.codes)
            codes[row, :size], told[row, :size], there[row, :size] = session.codes, session.told, True
            if session.read is not None:
                read[row, :size] = session.read
        return Batch(*(torch.from_numpy(each).to(self._device) for each in (codes, told, there, read)))

    def _leave(self, path: Path, curve: Curve, kept: _Kept) -> None:
        """Writes where training stands, beside its place and then into it."""
        tensors = {f"now.{name}": tensor for name, tensor in _copy(self._trained).items()}
        tensors |= {f"best.{name}": tensor for name, tensor in kept.weights.items()}
        tensors["asked"] = torch.from_numpy(kept.asked)
        for number, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
        for name in ("loss", "ndcg_10", "cpu_s"):
            tensors[f"curve.{name}"] = torch.tensor(getattr(curve, name), dtype=torch.float64)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, beside)
        beside.replace(path)

    def _resumed(self, path: Path, name: str) -> tuple[Curve, _Kept, int]:
        """Goes on from what `_leave` wrote.

        Raises:
            EncoderError: the file is not whole.
        """
        try:
            tensors = load_file(path, device=self._device)
            self._trained.load_state_dict(_under("now.", tensors))
            state: dict[int, dict[str, torch.Tensor]] = {}
            for told, tensor in _under("adam.", tensors).items():
                number, _, part = told.partition(".")
                state.setdefault(int(number), {})[part] = tensor
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": state, "param_groups": groups})
            curve = Curve(name, *(tensors[f"curve.{part}"].tolist() for part in ("loss", "ndcg_10", "cpu_s")))
            return curve, _Kept(_under("best.", tensors), tensors["asked"].cpu().numpy()), len(curve.loss)
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as exc:
            raise EncoderError(f"{path}: no checkpoint of this training ({exc}); delete it and train again") from exc


def _surely_more(ones: Vector, others: Vector) -> bool:
    """Whether the mean is larger by two standard errors of the paired difference."""
    gained = ones.astype(np.float64) - others
    return float(gained.mean()) > 2 * float(gained.std()) / max(1.0, np.sqrt(len(gained))) if len(gained) else False


def _copy(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
