"""The table of rights in docs/operations.md, as data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern, ResourceType

OPERATIONS = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
PREFIX = "beforehand."
"""Of the topics in the table."""
_BESIDES = re.compile(r"((?:\w+, )*\w+(?: and \w+)?) on (Topic|Group|TransactionalId)( prefixed)? `([\w.-]+)`")


@dataclass(frozen=True, slots=True)
class Rights:
    """What one kind of client may do."""

    principal: str
    reads: frozenset[str]
    """Topics without prefix."""
    writes: frozenset[str]
    besides: str
    """In words: `Read on Group `home-page`; Create on Topic prefixed `beforehand.``."""

    def rules(self) -> Iterator[ACL]:
        """As Kafka takes them."""
        for operation, names in ((ACLOperation.READ, self.reads), (ACLOperation.WRITE, self.writes)):
            for name in sorted(names):
                yield self._rule(operation, ResourceType.TOPIC, PREFIX + name, prefixed=False)
        for operations, resource, prefixed, name in _BESIDES.findall(self.besides):
            kind = {"TransactionalId": ResourceType.TRANSACTIONAL_ID}.get(resource) or ResourceType[resource.upper()]
            for word in re.findall(r"[A-Z]\w+", operations):
                operation = ACLOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).upper()]
                yield self._rule(operation, kind, name, prefixed=bool(prefixed))

    def _rule(self, operation: ACLOperation, kind: ResourceType, name: str, *, prefixed: bool) -> ACL:
        pattern = ACLResourcePatternType.PREFIXED if prefixed else ACLResourcePatternType.LITERAL
        return ACL(
            f"User:{self.principal}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name, pattern)
        )


def table() -> dict[str, Rights]:
    """By principal."""
    part = OPERATIONS.split("## Who may do what")[1].split("\n## ")[0]
    found = {}
    for line in [line for line in part.splitlines() if line.startswith("|")][2:]:
        principal, reads, writes, besides = (cell.strip() for cell in line.strip("|").split("|"))
        names = (frozenset(re.findall(r"`([\w.-]+)`", cell)) for cell in (reads, writes))
        found[principal] = Rights(principal, *names, besides)
    return found
