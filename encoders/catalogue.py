"""What an item says in words: the text that is encoded for it."""

from __future__ import annotations


def item_text(title: str, brand: str | None = None, category: str | None = None) -> str:
    """The words of an item, title first: title, brand, leaf of the category path `A > B > C`.

    A brand or leaf that the title already says is not said twice. Equal items give equal texts, so that their
    vectors are computed once.

    >>> item_text("Whole milk 1 l", "Alpine", "Food > Dairy > Milk")
    'Whole milk 1 l, Alpine'
    >>> item_text("Kettle", None, "Home > Kitchen")
    'Kettle, Kitchen'
    """
    parts = [" ".join(title.split())]
    leaf = category.rsplit(">", 1)[-1] if category else None
    for extra in (brand, leaf):
        words = " ".join(extra.split()) if extra else ""
        if words and words.casefold() not in ", ".join(parts).casefold():
            parts.append(words)
    return ", ".join(parts)
