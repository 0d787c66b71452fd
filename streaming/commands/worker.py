"""`beforehand worker`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from streaming.commands.options import Brokers
from streaming.settings import Settings


def worker(
    brokers: Brokers = None,
    model: Annotated[Path | None, typer.Option(help="A model folder made by `beforehand build`.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The worker's own folder, kept over restarts.")] = None,
    id: Annotated[str | None, typer.Option(help="The worker's name: unique, the same after a restart.")] = None,
    port: Annotated[int | None, typer.Option(help="Of the health and metrics pages; 0: a free one.")] = None,
    no_pseudonyms: Annotated[
        bool, typer.Option("--no-pseudonyms", help="Let the site's ids through as they are.")
    ] = False,
) -> None:
    """Start a worker: events in, predictions out, until it is stopped.

    All other settings come from the environment: BEFOREHAND_SECRET, BEFOREHAND_TOPICS__PARTITIONS and so on. The
    process ends itself when in doubt; let a supervisor start it again.
    """
    given = {
        "BEFOREHAND_BROKERS": brokers,
        "BEFOREHAND_WORKER__MODEL": model,
        "BEFOREHAND_WORKER__DATA_DIR": data_dir,
        "BEFOREHAND_WORKER__ID": id,
        "BEFOREHAND_WORKER__PORT": port,
        "BEFOREHAND_NO_PSEUDONYMS": no_pseudonyms or None,
    }
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    Settings.from_environment()  # a wrong setting is told here, in one line
    sys.stdout.flush()
    # faulthandler: a crash in a library's own code (torch, FAISS, RocksDB) leaves every thread's stack in the log.
    options = ["-L", "uvloop", "worker", "--without-web", "-l", "info"]
    os.execv(sys.executable, [sys.executable, "-X", "faulthandler", "-m", "faust", "-A", "streaming.app", *options])
