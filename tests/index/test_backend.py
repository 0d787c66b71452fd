import importlib.metadata
import sys
from types import SimpleNamespace

import pytest

from index import backend
from index.errors import BackendError


@pytest.fixture
def distributions(monkeypatch):
    """Says which distributions are installed."""

    def say(*names):
        monkeypatch.setattr(importlib.metadata, "distributions", lambda: [SimpleNamespace(name=n) for n in names])

    backend.faiss.cache_clear()
    yield say
    backend.faiss.cache_clear()


def test_the_faiss_that_is_here_searches():
    assert backend.check() in backend.installed()
    assert backend.faiss().IndexFlatIP(3).d == 3


@pytest.mark.parametrize("name", ["faiss-cpu", "faiss_cpu", "faiss", "Faiss-GPU-cu12"])
def test_one_is_right(distributions, name):
    distributions("numpy", name, None, name)
    assert backend.check() == name.lower().replace("_", "-")


def test_none_names_the_remedy(distributions):
    distributions("numpy", "faissx")
    with pytest.raises(BackendError, match=r'pip install "beforehand\[cpu\]"'):
        backend.faiss()


def test_two_name_what_to_uninstall(distributions):
    distributions("faiss-gpu-cu12", "faiss-cpu")
    with pytest.raises(BackendError, match="pip uninstall faiss-cpu faiss-gpu-cu12"):
        backend.faiss()


def test_a_broken_one_names_the_remedy(distributions, monkeypatch):
    distributions("faiss-cpu")
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(BackendError, match="pip install --force-reinstall faiss-cpu"):
        backend.faiss()
