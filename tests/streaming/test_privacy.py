"""People under keyed pseudonyms, and the cut of the arms."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter

import pytest

from streaming.errors import InputError
from streaming.privacy import ARM_DOMAIN, ID_DOMAIN, Pseudonyms, pseudonym
from streaming.settings import Settings

SECRET = "sixteen characte"


def test_a_pseudonym_is_the_documented_hmac() -> None:
    whole = hmac.new(SECRET.encode(), b"beforehand/id\0" + "visiteur-é".encode(), hashlib.sha256).hexdigest()
    assert pseudonym("visiteur-é", SECRET) == whole[:32]
    assert Pseudonyms(SECRET)("visiteur-é") == whole[:32]


def test_the_percent_is_the_documented_hmac() -> None:
    whole = hmac.new(SECRET.encode(), b"beforehand/arm\0" + b"visitor", hashlib.sha256).digest()
    assert Pseudonyms(SECRET).percent("visitor") == int.from_bytes(whole[:8], "big") % 100
    assert ID_DOMAIN != ARM_DOMAIN


def test_another_secret_or_another_id_is_another_pseudonym() -> None:
    names = {pseudonym(id, secret) for id in ("a", "b") for secret in (SECRET, SECRET + "!")}
    assert len(names) == 4


def test_without_a_secret_ids_pass_and_arms_are_still_cut() -> None:
    open_names = Pseudonyms(None)
    assert open_names("visitor") == "visitor"
    assert 0 <= open_names.percent("visitor") < 100
    assert open_names.percent("visitor") == Pseudonyms(None).percent("visitor")


@pytest.mark.parametrize("secret", [None, SECRET])
def test_the_arms_are_cut_evenly(secret: str | None) -> None:
    names = Pseudonyms(secret)
    counts = Counter(names.percent(str(n)) for n in range(20_000))
    assert len(counts) == 100
    assert 130 < min(counts.values()) <= max(counts.values()) < 275  # 200 expected, 5 standard deviations


def test_a_short_secret_is_refused_and_not_shown() -> None:
    for make in (lambda: pseudonym("a", SECRET[:-1]), lambda: Pseudonyms(SECRET[:-1])):
        with pytest.raises(InputError, match="15 characters, expected at least 16") as caught:
            make()
        assert SECRET[:-1] not in str(caught.value)


def test_a_secret_shows_in_no_repr() -> None:
    assert SECRET not in repr(Pseudonyms(SECRET))


def test_an_id_without_utf8_is_refused() -> None:
    with pytest.raises(InputError, match="lone surrogate"):
        pseudonym("\ud800", SECRET)


def test_settings_say_which() -> None:
    assert Pseudonyms.from_settings(Settings(secret=SECRET))("a") == pseudonym("a", SECRET)
    assert Pseudonyms.from_settings(Settings(secret=None, no_pseudonyms=True))("a") == "a"
    with pytest.raises(InputError, match=r"BEFOREHAND_SECRET.*--no-pseudonyms"):
        Pseudonyms.from_settings(Settings(secret=None, no_pseudonyms=False))
