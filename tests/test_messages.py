"""Test the texts that messages are made of."""

import pytest

from cvkit.messages import did_you_mean, first_line, last_line, nearest, printable, printable_name, reason


def test_the_nearest_word_is_suggested() -> None:
    assert did_you_mean("resnet43", ["vgg16", "resnet34"]) == " Did you mean 'resnet34'?"
    assert did_you_mean("zzz", ["vgg16", "resnet34"]) == " Known: resnet34, vgg16."
    assert did_you_mean("zzz", []) == ""
    assert nearest("vg16", iter(["vgg16"])) == " Did you mean 'vgg16'?" and nearest("zzz", ["vgg16"]) == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no.\nmore", "no"),
        ("\n  spaced: \n", "spaced"),
        ("", "ValueError"),
        ("Exception from src/a.cpp:84:\nwhat it is", "what it is"),
        ("Exception from src/a.cpp:84:", "Exception from src/a.cpp:84"),
        ("x" * 300, "x" * 200),
    ],
)
def test_the_first_line_of_an_error(text: str, line: str) -> None:
    assert first_line(ValueError(text)) == line


def test_the_reason_of_an_error_is_one_line() -> None:
    assert reason(FileNotFoundError(2, "No such file or directory", "x.txt")) == "No such file or directory"
    assert reason(OSError("not an image\nat all")) == "not an image"
    assert reason(ValueError("no.\nmore")) == "no"


def test_the_last_line_of_an_error_is_cut() -> None:
    assert last_line(ValueError("first\n\n  last  \n")) == "last"
    assert last_line(ValueError()) == "ValueError"
    assert last_line(ValueError("x" * 300)) == "x" * 200


def test_control_characters_become_escapes() -> None:
    text = "a\x1b[31m\r\n\t\x07\x7f\x9b\u202e\u2066\u2028\x85\udcff"
    assert printable(text) == r"a\x1b[31m\r\n\t\x07\x7f\x9b\u202e\u2066\u2028\x85\udcff"


def test_letters_of_all_scripts_are_kept() -> None:
    text = "naïve 写真 [b]\u3000\xa0صورة 👩\u200d👧 ½ \\x1b"
    assert printable(text) == text


def test_a_long_name_is_cut_after_its_control_characters_are_escaped() -> None:
    assert printable_name("a\nb\x1b") == "a\\nb\\x1b"
    assert printable_name("a" * 80) == "a" * 80
    assert printable_name("a" * 100) == "a" * 80 + "..."
