import pytest

from encoders.catalogue import item_text


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (("Kettle",), "Kettle"),
        (("Kettle", "Alpine"), "Kettle, Alpine"),
        (("Kettle", "Alpine", "Home > Kitchen > Kettles and pots"), "Kettle, Alpine, Kettles and pots"),
        (("ALPINE kettle", "Alpine", "Home"), "ALPINE kettle, Home"),
        (("Kettle", "", ""), "Kettle"),
        (("  Green \n kettle ", " Al  pine ", "A >  B "), "Green kettle, Al pine, B"),
        (("Kettle", None, "Home > "), "Kettle"),
    ],
)
def test_what_an_item_says(item, text):
    assert item_text(*item) == text
