"""A worker's own pages: alive, ready, metrics, and the states it holds. On loopback, if nobody says otherwise.

    /live     200 while the process works; 503 with the reason when the event loop stands still
    /ready    200 while it is caught up and events are decided; 503 with the reason
    /full     200 while all is done for each event; 503 with the reasons: a lower level, a failing engine, a full disk
    /metrics  Prometheus' text format
    /learned  {"digest": ..., "records": ..., "marks": {"clicks/0": ...}}: what was learned; equal digests, equal tables
    /states   {"partitions": [...], "states": {session's pseudonym: hex of the encoded state}}; to loopback alone

They are served by threads of their own, so that they answer when the event loop does not.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any

from streaming.errors import InputError

logger = logging.getLogger(__name__)

PRIVATE = frozenset({"/states"})
"""Pages that no other machine gets to see, wherever the server listens."""
FILE = "pages.json"
"""Written into the data folder: {"port": ..., "pid": ...}."""

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


def text(problem: str | None) -> Answer:
    """200 without a problem, else 503 and the problem."""
    return (
        (200, "text/plain; charset=utf-8", b"ok\n") if problem is None else (503, "text/plain", f"{problem}\n".encode())
    )


def as_json(value: Any) -> Answer:
    """200 and a JSON value."""
    return 200, "application/json", json.dumps(value).encode()


class Pages:
    """The server. `start` binds it and tells the port; the process's end stops it."""

    def __init__(
        self, port: int, folder: Path, pages: dict[str, Callable[[], Answer]], host: str = "127.0.0.1"
    ) -> None:
        """
        Raises:
            InputError: nothing can listen there.
        """
        self._pages = pages
        self._folder = folder
        try:
            self._server = ThreadingHTTPServer((host, port), self._handler())
        except OSError as exc:
            raise InputError(
                f"health pages cannot be served at {host}:{port} ({exc.strerror}), expected an address of this machine"
                " and a port that nothing else has; give each worker its own --port, or 0 for one that is free"
            ) from exc
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Serve from now on, and say where in `pages.json`."""
        Thread(target=self._server.serve_forever, name="pages", daemon=True).start()
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f"{FILE}.new"
        fresh.write_text(json.dumps({"port": self.port, "pid": os.getpid()}) + "\n")
        fresh.replace(self._folder / FILE)
        logger.info("pages on http://%s:%d/", self._server.server_address[0], self.port)

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self._pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                page = pages.get(path)
                known = " ".join(sorted(pages))
                if path in PRIVATE and not ip_address(self.client_address[0]).is_loopback:
                    status, kind, body = 403, "text/plain", f"{path} is told on loopback alone\n".encode()
                elif page is None:
                    status, kind, body = 404, "text/plain", f"there are: {known}\n".encode()
                else:
                    status, kind, body = page()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                logger.debug(format, *args)

        return Handler
