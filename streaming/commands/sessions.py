"""`beforehand sessions`: what is known of each live session."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from streaming import topics
from streaming.changelog import read_states
from streaming.commands.options import Brokers, Json, settings_for
from streaming.commands.text import moment, short
from streaming.errors import InputError
from streaming.privacy import Pseudonyms
from streaming.said import BECAME, last_id
from streaming.sessions import SessionState
from streaming.settings import Settings

_SHOWN = 50


def sessions(
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            metavar="ID",
            help="Only this one: its pseudonym, or the site's own id.",
            show_default=False,
        ),
    ] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Those too that have ended but are remembered.")] = False,
    brokers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Print the state of every live session.

    States are read from the changelog, without a worker: what a new worker would recover. With --json one object a
    line. The site's own id is understood where BEFOREHAND_SECRET is set.
    """
    settings = settings_for(brokers)
    states = {name: state for name, state in read_states(settings).items() if closed or not state.closed}
    if session is not None:
        states = _one(states, session, settings)
    if as_json:
        for name, state in sorted(states.items()):
            print(json.dumps(plain(name, state)))
    else:
        _show(states)


def plain(session: str, state: SessionState) -> dict[str, Any]:
    """A state in words, as `--json` prints it. Times are ms since the epoch."""
    names = [topic.name for topic in topics.SOURCES[: len(state.offsets)]]
    said = state.said
    return {
        "session_id": session,
        "closed": state.closed,
        "user_id": state.user[3] if state.user else None,
        "events": dict(zip(names, state.counts, strict=True)),
        "offsets": dict(zip(names, state.offsets, strict=True)),
        "digest": f"{state.digest:016x}",
        "repeats": state.repeats,
        "first_time": state.first_time,
        "last_time": state.last_time,
        "consent": state.consent[3] if state.consent else None,
        "utc_offset_min": state.utc_offset[3] if state.utc_offset else None,
        "history": [
            {
                "time": step.time,
                "kind": step.kind,
                "query" if step.item_id is None else "item_id": step.subject,
            }
            for step in state.history
        ],
        "cart_items": len(state.cart) // CART_TAG_BYTES,
        "predictions": {
            "sent": said.sent,
            "last_id": last_id(said) or None,
            "last_time": said.sent_at or None,
            "expires_at": said.expires_at or None,
            "became": dict(zip(BECAME, said.became, strict=True)),
        },
    }


CART_TAG_BYTES = 5
"""What an item of the cart takes in a state."""


def _one(states: dict[str, SessionState], name: str, settings: Settings) -> dict[str, SessionState]:
    wanted = [name]
    if settings.secret is not None or settings.no_pseudonyms:
        wanted.append(Pseudonyms.from_settings(settings)(name))
    found = {one: states[one] for one in wanted if one in states}
    if not found:
        raise InputError(
            f"no live session {name!r} among {len(states)}; give its pseudonym, or set BEFOREHAND_SECRET and give the"
            " site's own id; --closed looks among ended ones too"
        )
    return found


def _show(states: dict[str, SessionState]) -> None:
    newest = sorted(states.items(), key=lambda pair: pair[1].last_time, reverse=True)
    if len(newest) == 1:
        print(json.dumps(plain(*newest[0]), indent=2, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("session", "last event (UTC)", "clicks", "browses", "in cart", "sent", "last step"):
        table.add_column(title, justify="right" if title in ("clicks", "browses", "in cart", "sent") else "left")
    for name, state in newest[:_SHOWN]:
        step = state.history[-1] if state.history else None
        last = "" if step is None else f"{step.kind} {step.subject}"
        numbers = (*state.counts, len(state.cart) // CART_TAG_BYTES, state.said.sent)
        table.add_row(short(name), moment(state.last_time), *map(str, numbers), last)
    Console(highlight=False, markup=False).print(table)
    left = f"; the {_SHOWN} newest are shown, --json prints all" if len(newest) > _SHOWN else ""
    print(f"{len(newest):,} sessions{left}")
