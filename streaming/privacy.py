"""Keyed pseudonyms of people: what a site calls a session or a user never reaches state or outputs.

    pseudonym = first 128 bits of HMAC-SHA-256(secret, ID_DOMAIN  + UTF-8 of the id), as 32 hex characters
    percent   = first 64 bits  of HMAC-SHA-256(secret, ARM_DOMAIN + UTF-8 of the id), big-endian, mod 100

The two domains part the uses: from a pseudonym nobody can tell the arm, nor the other way round. An id holds
no control character, so that the zero byte ends a domain without doubt. The same id under another secret has
another pseudonym; without the secret there is no way back to the id but to guess and compare with it.
"""

from __future__ import annotations

import hmac
from functools import lru_cache

from streaming.errors import InputError
from streaming.settings import Settings

ID_DOMAIN = b"beforehand/id\0"
ARM_DOMAIN = b"beforehand/arm\0"
MIN_SECRET = 16
"""Characters of the shortest secret that is taken."""

_OPEN_KEY = b"beforehand"
"""Cuts the arms where there is no secret: the cut is even and stable, and no secret."""
_REMEMBERED = 65_536
"""Ids whose pseudonyms are kept, least recently used dropped first."""


def pseudonym(id: str, secret: str) -> str:
    """What state and outputs call this session or user, so that a site can look its visitor up.

    >>> pseudonym("visitor-1", "a secret of a shop")
    '942ba16857b2375306bf9efc6845e236'

    Raises:
        InputError: the secret is under 16 characters, or a text has no UTF-8.
    """
    return _tag(ID_DOMAIN, id, _key(secret))[:16].hex()


class Pseudonyms:
    """`pseudonym` under one secret, remembered for the ids of late. Without a secret ids pass through.

    Safe to share between threads. The secret shows in no repr.
    """

    __slots__ = ("_key", "_named", "_percent")

    def __init__(self, secret: str | None) -> None:
        """Raises:
        InputError: the secret is under 16 characters.
        """
        self._key = None if secret is None else _key(secret)
        self._named = lru_cache(_REMEMBERED)(self._name)
        self._percent = lru_cache(_REMEMBERED)(self._cut)

    @classmethod
    def from_settings(cls, settings: Settings) -> Pseudonyms:
        """Raises:
        InputError: there is no secret, and `no_pseudonyms` does not say that this is meant; or it is too
        short.
        """
        if settings.no_pseudonyms:
            return cls(None)
        if settings.secret is None:
            raise InputError(
                f"BEFOREHAND_SECRET is not set, expected at least {MIN_SECRET} characters: the key of the visitors'"
                " pseudonyms; set it, or pass --no-pseudonyms where the site's ids are no personal data"
            )
        return cls(settings.secret.get_secret_value())

    def __call__(self, id: str) -> str:
        """The pseudonym of an id; the id itself where there is no secret."""
        return id if self._key is None else self._named(id)

    def percent(self, id: str) -> int:
        """0 to 99, even and stable: below `holdout_percent` is the hold-out arm.

        Give what the event carries, the pseudonym of the user, else that of the session.
        """
        return self._percent(id)

    def _name(self, id: str) -> str:
        assert self._key is not None
        return _tag(ID_DOMAIN, id, self._key)[:16].hex()

    def _cut(self, id: str) -> int:
        return int.from_bytes(_tag(ARM_DOMAIN, id, self._key or _OPEN_KEY)[:8], "big") % 100


def _key(secret: str) -> bytes:
    if len(secret) < MIN_SECRET:
        raise InputError(
            f"the secret of the pseudonyms has {len(secret)} characters, expected at least {MIN_SECRET}; set"
            " BEFOREHAND_SECRET to a long random text, such as the output of `openssl rand -hex 32`"
        )
    return _utf8(secret, "the secret of the pseudonyms")


def _tag(domain: bytes, id: str, key: bytes) -> bytes:
    return hmac.digest(key, domain + _utf8(id, "an id"), "sha256")


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise InputError(f"{what} has a lone surrogate and so no UTF-8; decode it with its right encoding") from exc
