"""Errors of `index`, one tree. None of them is helped by trying again.

    IndexingError          catch it to catch everything `index` raises on purpose
    ├── BackendError       faiss is missing, or there twice
    └── ModelFolderError   a model folder is not there, not whole, or of another format

A wrong argument of a call (a vector with NaN, a wrong dimension) is a ValueError, as everywhere in Python.
"""

from __future__ import annotations


class IndexingError(Exception):
    """Root of the tree."""


class BackendError(IndexingError):
    """faiss is missing, or two distributions of it overwrite each other. The text names the remedy."""


class ModelFolderError(IndexingError):
    """A model folder is not there, not whole, or of a format that this release does not read."""
