"""What a worker's pages say from outside, when it ends meanwhile."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from streaming.pages import FILE
from streaming.settings import Settings
from streaming.worker_process import WorkerProcess


def test_a_page_that_breaks_off_is_as_one_that_is_not_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkerProcess, "pid", 7)
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / FILE).write_text(json.dumps({"pid": 7, "port": server.getsockname()[1]}))

        def answer() -> None:
            with server.accept()[0] as client:
                client.recv(1000)
                client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 50\r\n\r\nhalf")

        thread = threading.Thread(target=answer)
        thread.start()
        process = WorkerProcess(Settings(worker={"data_dir": tmp_path}), tmp_path)
        with pytest.raises(OSError, match="/metrics broke off"):
            process.page("/metrics")
        thread.join()
