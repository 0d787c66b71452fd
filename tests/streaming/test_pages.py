from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from streaming import pages as pages_module
from streaming.errors import InputError
from streaming.pages import Pages, text


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    served = Pages(0, tmp_path / "data", {"/live": lambda: text(None), "/ready": lambda: text("rebalancing")})
    served.start()
    yield served
    served.stop()


def get(pages: Pages, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{pages.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def test_says_what_it_is_told(pages: Pages) -> None:
    assert get(pages, "/live") == (200, "ok\n")
    assert get(pages, "/ready") == (503, "rebalancing\n")


def test_a_port_that_another_worker_has_is_named_with_the_remedy(pages: Pages, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"127\.0\.0\.1:{pages.port} \(Address already in use\).*own --port"):
        Pages(pages.port, tmp_path, {})


def test_an_unknown_page_names_the_known(pages: Pages) -> None:
    assert get(pages, "/tables/sessions") == (404, "there are: /live /ready\n")


def test_the_folder_tells_where_it_serves(pages: Pages, tmp_path: Path) -> None:
    assert json.loads((tmp_path / "data" / "pages.json").read_text()) == {
        "port": pages.port,
        "pid": os.getpid(),
    }


def test_serves_loopback_only(pages: Pages) -> None:
    assert pages._server.server_address[0] == "127.0.0.1"


def test_elsewhere_it_tells_no_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Pages(0, tmp_path, {"/live": lambda: text(None), "/states": lambda: text(None)}, "0.0.0.0")
    served.start()
    try:
        assert get(served, "/states") == (200, "ok\n")  # this is loopback still
        monkeypatch.setattr(pages_module, "ip_address", lambda _: ip_address("192.0.2.7"))
        assert get(served, "/live") == (200, "ok\n")
        assert get(served, "/states") == (403, "/states is told on loopback alone\n")
    finally:
        served.stop()
