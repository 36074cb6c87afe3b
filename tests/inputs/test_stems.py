"""Test that results stay inside the result folder and never share a name."""

import os
from pathlib import Path

import pytest

from cvkit.inputs.stems import MAX_STEM_BYTES, folders_of, path_inside, unique_stems, without_suffix


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.jpg", "a"),
        ("d.x/a", "d.x/a"),
        ("x.y.jpg", "x.y"),
        ("..png", "..png"),
        ("d/...", "d/..."),
        (".png", ".png"),
        ("a.", "a."),
        ("-a b.jpg", "-a b"),
        ("a\nb.jpg", "a\nb"),
        ("\udce9.jpg", "\udce9"),
    ],
)
def test_a_suffix_is_removed_from_any_name(name: str, stem: str) -> None:
    assert without_suffix(name) == stem
    assert unique_stems([name]) == [stem]


@pytest.mark.parametrize("path", ["../../x.jpg", "/x.jpg", "/../x.jpg", "./x.jpg", ".././../x.jpg", "x.jpg"])
def test_a_listed_path_is_mirrored_inside_the_result_folder(path: str) -> None:
    assert path_inside(Path(path)) == "x.jpg"


def test_folders_of_results_do_not_have_the_names_of_files() -> None:
    names = ["a.jpg", "a.png/b.jpg", "results.csv/c.jpg", ".cvkit/1-of-1.jpg", "d/.CVKIT/x.jpg", "v1.0/e.jpg"]
    assert unique_stems(names) == ["a", "a.png_/b", "results.csv_/c", ".cvkit_/1-of-1", "d/.CVKIT_/x", "v1.0/e"]
    assert len(set(unique_stems(["a.png/b.jpg", "a.png_/b.jpg"]))) == 2


def test_the_folders_of_stems_include_those_that_contain_them() -> None:
    assert folders_of(["a", "b/c/d", "b/e", "b/c/f"]) == {"b", "b/c"}


@pytest.mark.parametrize("character", ["x", "\u00e9", "\u732b", "\udce9"])
def test_long_names_leave_room_for_suffixes_and_stay_different(character: str) -> None:
    size = len(os.fsencode(character))
    names = [f"d/{character * (249 // size)}{end}.jpg" for end in "ab"] + [f"d/{character * (MAX_STEM_BYTES // size)}"]
    first, second, short = unique_stems(names)
    assert first != second
    assert all(stem.startswith("d/") and len(os.fsencode(stem[2:])) <= MAX_STEM_BYTES for stem in (first, second))
    assert short == names[2]
    assert unique_stems(names[1:2]) == [second]  # in another job of an array
