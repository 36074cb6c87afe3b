"""Test the names of classes in pictures."""

import pytest

from cvkit.render.text import class_name, shorten_middle


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("tabby, tabby cat", "tabby, tabby cat"),
        ("  two\n lines\t", "two lines"),
        ("łąka żółta — Μαργαρίτα, подсолнух", "łąka żółta — Μαργαρίτα, подсолнух"),
        ("e\u0301te\u0301", "été"),
        ("", "class 7"),
        ("\u96cf\u83ca", "class 7"),  # Chinese
        ("ดอกไม้", "class 7"),  # Thai
        ("\u05d5\u05e8\u05d3", "class 7"),  # Hebrew, which runs from right to left
        ("\U0001f339 roses", "roses"),  # an emoji that the font lacks
        ("\U0001f339", "class 7"),
        ("a\x1b[31mb\u202e", "a\\x1b[31mb\\u202e"),
    ],
)
def test_a_label_that_cannot_be_drawn_becomes_its_index(label: str, expected: str) -> None:
    assert class_name(label, 7) == expected


def test_the_middle_of_long_names_is_left_out() -> None:
    assert shorten_middle("species_001_of_many", 10) == "specie…any"
    assert shorten_middle("short", 5) == "short"
    assert shorten_middle("longer", 3) == "lo…"
    assert all(len(shorten_middle("abcdefghijkl", most)) <= most for most in range(3, 14))
