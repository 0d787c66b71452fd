"""What every text encoder promises. A test class derives from `TextSuite` and says how one is made."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import pytest

MILK = "whole milk one litre"
MORE_MILK = "skimmed milk one litre"
HAMMER = "claw hammer for carpenters"


class TextSuite:
    @abstractmethod
    def make(self) -> Any:
        """An encoder; a test may make several."""

    @pytest.fixture
    def encoder(self):
        return self.make()

    def test_shape_type_and_length(self, encoder):
        vectors = encoder.encode([MILK, HAMMER, MORE_MILK])
        assert vectors.shape == (3, encoder.dimension)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)

    def test_texts_alike_are_near(self, encoder):
        milk, hammer, more_milk = encoder.encode([MILK, HAMMER, MORE_MILK])
        assert milk @ more_milk > 0.5 > milk @ hammer

    def test_no_texts(self, encoder):
        assert encoder.encode([]).shape == (0, encoder.dimension)

    def test_order_is_kept_and_equal_texts_are_equal(self, encoder):
        one, two, three, four = encoder.encode([HAMMER, MILK, HAMMER, MORE_MILK])
        assert (one == three).all()
        assert one @ two < 0.9
        assert two @ four < 0.999

    def test_a_batch_equals_its_texts_one_by_one(self, encoder):
        texts = [MILK, HAMMER, "", "tea", " ".join(["a long title of many words"] * 8), "Größe 42 – 东京"]
        together = encoder.encode(texts)
        alone = np.concatenate([encoder.encode([text]) for text in texts])
        assert np.abs(together - alone).max() < 1e-5

    @pytest.mark.parametrize("text", ["", "   ", "\n\t", "\x00", "\ud800 half", "word " * 5000, "🫖" * 300])
    def test_any_text_has_a_vector(self, encoder, text):
        (vector,) = encoder.encode([text])
        assert np.isfinite(vector).all()
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)

    def test_the_digest_is_16_hex_characters_and_stays(self, encoder):
        assert len(encoder.digest) == 16
        assert int(encoder.digest, 16) >= 0
        assert self.make().digest == encoder.digest
