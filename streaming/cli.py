"""The command `beforehand`: which commands there are, and how they end.

Exit codes: 0 done, 1 a check failed or broker trouble, 2 usage or input, 130 stopped by Ctrl-C. What the product
raises on purpose becomes one line on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

from encoders.errors import EncoderError
from index.errors import IndexingError
from streaming.errors import BeforehandError, InputError


@dataclass(frozen=True, slots=True)
class Command:
    """One command: where it lives and what it is for.

    Only the command that was asked for is imported, so that `beforehand --help` need not load a model's libraries.
    """

    target: str
    """`module:attribute`: a function, or a `typer.Typer` with commands of its own."""
    summary: str
    """One line; the first of the target's docstring or help, which a test holds."""

    def add_to(self, app: typer.Typer, name: str) -> None:
        """Import the target and put it into `app`."""
        module, _, attribute = self.target.partition(":")
        target = getattr(import_module(module), attribute)
        if isinstance(target, typer.Typer):
            app.add_typer(target, name=name)
        else:
            app.command(name)(target)

    def announce_in(self, app: typer.Typer, name: str) -> None:
        """Put name and summary into `app`, for its help page."""
        app.command(name, help=self.summary)(lambda: None)


COMMANDS = {
    "demo": Command(
        "streaming.commands.demo:demo", "Watch predictions on real purchases, live, on a broker of its own."
    ),
    "worker": Command(
        "streaming.commands.worker:worker", "Start a worker: events in, predictions out, until it is stopped."
    ),
    "topics": Command("streaming.commands.topics:app", "Make and compare the topics that the product needs."),
    "consume": Command("streaming.commands.consume:consume", "Print predictions as they come, until Ctrl-C."),
    "sessions": Command("streaming.commands.sessions:sessions", "Print the state of every live session."),
    "dead-letters": Command("streaming.commands.dead_letters:app", "List what could not be read, and send it again."),
    "import": Command("streaming.commands.import_:import_", "Check a shop's files and write them as a shop folder."),
    "build": Command("streaming.commands.shop:build", "Build a model folder from a shop's past."),
    "train": Command("streaming.commands.train:train", "Train a model on a shop's past, and write its folder."),
    "tune-text": Command(
        "streaming.commands.tune_text:tune_texts", "Tune the text encoder on a shop's catalogue and log."
    ),
    "evaluate": Command(
        "streaming.commands.evaluate:evaluate",
        "Measure the ranking of a model's settings on a shop's past, beside baselines.",
    ),
    "train-head": Command(
        "streaming.commands.train_head:train_head",
        "Train a head on a table of texts and labels: classes, numbers or relevances.",
    ),
    "backtest": Command(
        "streaming.commands.backtest:backtest",
        "Run the engine over a shop's log without a broker, and measure what it says.",
    ),
    "replay": Command(
        "streaming.commands.replay:replay", "Put a shop folder or a captured file on the topics, in time."
    ),
    "capture": Command("streaming.commands.capture:capture", "Write topics to a file that `replay` reads."),
    "bench": Command(
        "streaming.commands.bench:bench", "Measure latency, CPU and memory under a load that waits for nobody."
    ),
    "torture": Command(
        "streaming.commands.torture:torture", "Do harm by a seeded plan, and account for every event afterwards."
    ),
    "broker": Command(
        "streaming.commands.broker:broker",
        "Start a local broker in memory, print its address, and run until Ctrl-C.",
    ),
}
"""In the order of the help page."""


def application(asked: Sequence[str]) -> typer.Typer:
    """The command line of which only the command named in `asked` is loaded."""
    app = typer.Typer(
        name="beforehand",
        help="Tells a shop what its visitors will want, before they ask: events in from Kafka, predictions out.",
        epilog="Settings come from variables named BEFOREHAND_...; `beforehand COMMAND --help` lists its options.",
        rich_markup_mode="markdown",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_top)
    chosen = next((word for word in asked if not word.startswith("-")), None)
    for name, command in COMMANDS.items():
        if name == chosen:
            command.add_to(app, name)
        else:
            command.announce_in(app, name)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `beforehand` with `arguments`, else the process's own. Ends the process by `SystemExit`."""
    asked = sys.argv[1:] if arguments is None else list(arguments)
    try:
        application(asked)(args=asked, prog_name="beforehand")
    except BeforehandError as exc:
        print(f"beforehand: {exc}", file=sys.stderr)
        sys.exit(2 if isinstance(exc, InputError) else 1)
    except (EncoderError, IndexingError) as exc:
        print(f"beforehand: {exc}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        _flush_quietly()


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version("beforehand"))
        raise typer.Exit


def _top(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end."),
    ] = False,
) -> None:
    pass


def _flush_quietly() -> None:
    """A reader that went away (`| head`) is no error: what is left in the buffer goes nowhere, without a traceback."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
