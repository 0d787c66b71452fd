"""What is measured of a device is measured: small figures on a CPU."""

from __future__ import annotations

import pytest
import torch

from encoders.throughput import SHAPES, Shape, peak, sequences_per_s, why_no_gpu


def test_the_flops_of_bert_base_are_those_of_its_weights() -> None:
    """Each weight of the layers is multiplied and added once a token: 85 M of them; attention adds to that."""
    weights = 12 * (4 * 768**2 + 2 * 768 * 3072)
    assert SHAPES["BERT-base"].flops(1) == pytest.approx(2 * weights, rel=1e-3)
    assert SHAPES["BERT-base"].flops(128) / 128 == pytest.approx(2 * weights + 12 * 4 * 128 * 768)


def test_a_cpu_can_be_measured_too() -> None:
    found = peak("cpu", side=64, numbers=10_000, seconds=0.01)
    assert found.tflops_bf16 > 0
    assert found.memory_gb_per_s > 0
    shape = Shape(1, 64, 2, 128)
    sequences_per_s(shape, 4, "cpu", batch=8, seconds=0.05)  # what the first network of a process costs besides
    short, long = (sequences_per_s(shape, n, "cpu", batch=8, seconds=0.3) for n in (4, 512))
    assert short > long > 0


def test_where_there_is_no_gpu_it_says_so() -> None:
    assert (why_no_gpu() is None) == torch.cuda.is_available()
