"""What a run of the torture came to: a table for people, and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from streaming.ladder import LEVELS
from streaming.provenance import machine, versions
from streaming.torture.ledger import FAULTS
from streaming.torture.plan import Profile
from streaming.torture.run import Result

COUNTS = {
    "sent": "payloads that the broker confirmed",
    "unknown": "payloads of which a killed producer knows nothing",
    "events": "events on the topics",
    "sessions": "sessions",
    "must_answer": "events that must be answered",
    "stale": "events that were too old to be answered",
    "decisions": "decisions told",
    "repeats": "decisions that came again under their id",
    "set_aside": "payloads that must be set aside",
    "letters": "dead letters",
    "letter_repeats": "dead letters that came again",
    "given": "predictions that the consumer gave out",
    "looks": "health: looks at the workers' pages",
    "silent_looks": "health: looks that nobody answered",
}
WRONG = {
    "lost_on_the_way_in": "payloads lost or doubled on the way in",
    "missing": "events without a decision",
    "twice": "events with two decisions",
    "unexpected": "decisions that should not be",
    "different": "decisions other than the reference's",
    "missing_letters": "dead letters that are missing",
    "unexpected_letters": "dead letters that should not be",
    "given_twice": "predictions given out twice",
    "given_amiss": "last predictions not given out, or none of ours",
    "misplaced": "states in another partition than their events",
    "wrong_on_changelog": "states on the changelog other than the reference's",
    "wrong_in_workers": "states in workers other than the reference's",
    "lag": "events that nobody read in time",
    "untrue": "health: looks at which a page was untrue",
    "ended_amiss": "ends of workers that nobody has a code for",
}


@dataclass(frozen=True, slots=True)
class Report:
    """One run."""

    profile: Profile
    result: Result
    nodes: int
    """Of Apache Kafka; 0: the local broker."""
    folder: Path
    """Where the logs are."""
    again: str
    """The command that does it again."""

    @property
    def proof(self) -> bool:
        """Whether the run proves anything: not on the local broker."""
        return self.nodes > 0

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "seed": self.profile.seed,
            "proof": self.proof,
            "nodes": self.nodes,
            "again": self.again,
            "profile": asdict(self.profile),
            **self.result.as_json(),
            "versions": versions(),
            "machine": machine(),
        }

    def show(self, console: Console) -> None:
        """The ledger."""
        ledger = self.result.ledger
        where = f"Apache Kafka, {self.nodes} nodes" if self.proof else "local broker: no proof"
        table = Table(title=f"Seed {self.profile.seed}, {where}, {self.result.seconds:,.0f} s")
        table.add_column("")
        table.add_column("", justify="right")
        for harm, count in sorted(self.result.harms.items()):
            table.add_row(f"harm: {harm}", f"{count}")
        table.add_section()
        for name, what in COUNTS.items():
            table.add_row(what, f"{getattr(ledger, name):,}")
        for level in LEVELS:
            if level in ledger.levels:
                table.add_row(f"decisions told at level {level}", f"{ledger.levels[level]:,}")
        table.add_section()
        for name in FAULTS:
            count = getattr(ledger, name)
            table.add_row(WRONG[name], f"[red]{count:,}[/red]" if count else "0")
        console.print(table)
        ended = {name: codes for name, codes in self.result.exits.items() if codes}
        console.print(f"exit codes of workers: {ended}", soft_wrap=True)
        again = self.result.ready_again_s
        if again:
            console.print(f"ready again after a kill: {min(again):g} to {max(again):g} s", soft_wrap=True)
        if ledger.faults():
            console.print(f"[red]does not tally[/red]; examples: {ledger.examples}", soft_wrap=True)
            console.print(f"logs and data: {self.folder}\nagain: {self.again}", soft_wrap=True)
        else:
            console.print("all tallies")
