"""Whitening: makes the cosine of two text vectors mean something.

BERT vectors share a direction: two random titles have a cosine of about .27. Taking off the mean, turning to
the principal axes and giving each the same variance spreads them; it needs no labels (Su et al. 2021,
arXiv:2103.15316).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from encoders.errors import EncoderError

Vectors = NDArray[np.float32]


class Whitening:
    """x -> L2((x - mean) @ matrix). Build one by `fit`, `identity` or `load`."""

    def __init__(self, mean: Vectors, matrix: Vectors) -> None:
        """
        Args:
            mean: float32 (input_dimension,)
            matrix: float32 (input_dimension, dimension)
        """
        if mean.ndim != 1 or matrix.ndim != 2 or matrix.shape[0] != mean.shape[0]:
            raise ValueError(f"mean {mean.shape}, matrix {matrix.shape}: expected (n,) and (n, dimension)")
        self.mean = np.ascontiguousarray(mean, dtype=np.float32)
        self.matrix = np.ascontiguousarray(matrix, dtype=np.float32)
        self.input_dimension, self.dimension = self.matrix.shape
        content = hashlib.blake2b(repr(self.matrix.shape).encode(), digest_size=8)
        content.update(self.mean.tobytes())
        content.update(self.matrix.tobytes())
        self.digest = content.hexdigest()
        """16 hex characters of the numbers."""

    @classmethod
    def identity(cls, dimension: int) -> Whitening:
        """Changes nothing but the length of a vector."""
        return cls(np.zeros(dimension, dtype=np.float32), np.eye(dimension, dtype=np.float32))

    @classmethod
    def fit(cls, vectors: Vectors, dimension: int = 128) -> Whitening:
        """Whitening to the first `dimension` principal axes of `vectors`, float32 (n, input_dimension).

        The result has min(dimension, input_dimension) dimensions however few vectors there are: the
        covariance is shrunk towards a ball (oracle approximating shrinkage, Chen et al. 2010,
        arXiv:0907.4698), so that few vectors whiten little instead of making every pair equally far, and axes
        that no vector has shown yet keep what a new text says on them. Fewer than two distinct vectors show
        no axis: the identity is returned, of input_dimension dimensions.

        Raises:
            ValueError: not two-dimensional, or a number is not finite.
        """
        if vectors.ndim != 2 or dimension < 1:
            raise ValueError(f"vectors of shape {vectors.shape} to {dimension} dimensions: expected (n, d) and >= 1")
        if not np.isfinite(vectors).all():
            raise ValueError("the vectors to whiten hold NaN or infinity: expected finite numbers; encode them anew")
        count, width = vectors.shape
        if count < 2:
            return cls.identity(width)
        samples = vectors.astype(np.float64)
        mean = samples.mean(axis=0)  # (width,)
        covariance = (samples - mean).T @ (samples - mean) / count  # (width, width)
        if np.trace(covariance) < 1e-9:
            return cls.identity(width)
        variances, axes = np.linalg.eigh(_shrunk(covariance, count))
        largest = np.argsort(-variances, kind="stable")[: min(dimension, width)]
        matrix = axes[:, largest] / np.sqrt(np.maximum(variances[largest], 1e-12))  # (width, dimension)
        return cls(mean.astype(np.float32), matrix.astype(np.float32))

    def apply(self, vectors: Vectors) -> Vectors:
        """(n, input_dimension) -> float32 (n, dimension), each of length 1. A row of zeros (unknown) stays
        zeros."""
        if vectors.ndim != 2 or vectors.shape[1] != self.input_dimension:
            raise ValueError(
                f"vectors of shape {vectors.shape}: expected (n, {self.input_dimension}); "
                "the model folder was built with another text encoder, build it anew"
            )
        turned = (vectors.astype(np.float32, copy=False) - self.mean) @ self.matrix  # (n, dimension)
        turned[~vectors.any(axis=1)] = 0
        lengths = np.linalg.norm(turned, axis=1, keepdims=True)
        return np.divide(turned, np.where(lengths > 1e-12, lengths, 1), dtype=np.float32)

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        save_file({"mean": self.mean, "matrix": self.matrix}, path)

    @classmethod
    def load(cls, path: Path) -> Whitening:
        """Reads what `save` wrote.

        Raises:
            EncoderError: the file is not there or not whole.
        """
        try:
            tensors = load_file(path)
            return cls(tensors["mean"], tensors["matrix"])
        except (OSError, SafetensorError, KeyError, ValueError) as exc:
            raise EncoderError(f"{path}: not a whitening file ({exc}); build the model folder anew") from exc


def _shrunk(covariance: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The covariance of `count` samples, drawn towards (trace / width) * I by the OAS weight."""
    width = covariance.shape[0]
    scale = np.trace(covariance) / width
    squares = float((covariance**2).sum())  # trace of the square
    spread = (count + 1 - 2 / width) * (squares - width * scale**2)
    weight = min(1.0, ((1 - 2 / width) * squares + (width * scale) ** 2) / spread) if spread > 0 else 1.0
    shrunk: NDArray[np.float64] = (1 - weight) * covariance
    shrunk.flat[:: width + 1] += weight * scale
    return shrunk
