from __future__ import annotations

import numpy as np
import pytest

from encoders.heads.words import LENGTH, Words, _buckets


def test_a_text_has_its_words_and_pairs_and_the_length_of_all_texts() -> None:
    words = Words.fit(["red lamp", "a red lamp", "green lamp on a desk", "red saw"], 2)
    places, values = words.of("Red, LAMP!")
    assert sorted(places) == sorted(_buckets("red lamp", words.buckets))
    assert (values > 0).all()
    assert np.linalg.norm(values) == pytest.approx(LENGTH)


def test_a_rare_word_weighs_more_and_a_word_of_one_text_nothing() -> None:
    words = Words.fit(["red lamp", "red saw", "red saw", "red boot"], 2)
    often, rarely, once, never = (
        words.weights[_buckets(each, words.buckets)][0] for each in ("red", "saw", "boot", "z")
    )
    assert rarely > often > once == never == 0
    places, values = words.of("boot")
    assert len(places) == 1
    assert values.tolist() == [0]


def test_texts_without_words_have_empty_rows_in_their_place() -> None:
    words = Words.fit(["red lamp", "red saw"], 2)
    places, values, starts = words.rows(["", "red", "...", "saw"])
    assert starts.tolist() == [0, 0, 1, 1]
    assert len(places) == len(values) == 2
    assert Words.fit([""], 2).rows([])[2].tolist() == []


def test_many_outputs_have_fewer_buckets() -> None:
    assert Words.fit(["a"], 6).buckets == 65536
    assert Words.fit(["a"], 1000).buckets == 4096
