import json
from pathlib import Path

import pytest

from cvkit.errors import DataError
from cvkit.tasks.classification.labels import load_labels


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("content", ["cat\ndog\n", "\ufeffcat\r\ndog\r\n\r\n", "  cat \ndog"])
def test_a_text_file_has_one_label_per_line(tmp_path: Path, content: str) -> None:
    assert load_labels(written(tmp_path, "a.txt", content)) == (("cat", "dog"), ())


def test_labels_are_separated_by_line_ends_only(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes("a\u2028b\r\nc\rd\x85e\n".encode())
    assert load_labels(str(tmp_path / "l.txt"))[0] == ("a\u2028b", "c", "d\x85e")


def test_a_synset_list_has_ids_and_labels(tmp_path: Path) -> None:
    path = written(tmp_path, "synset_words.txt", "n01440764 tench, Tinca tinca\nn01443537 goldfish\n")
    assert load_labels(path) == (("tench, Tinca tinca", "goldfish"), ("n01440764", "n01443537"))


def test_two_classes_may_have_the_same_label(tmp_path: Path) -> None:
    assert load_labels(written(tmp_path, "a.txt", "crane\ncrane\n"))[0] == ("crane", "crane")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "label\ncat\n\ndog\n", (("cat", "dog"), ())),
        ("a.csv", "\ufeffClass_Index,Label\n1,dog\n0,cat\n", (("cat", "dog"), ())),
        ("a.csv", 'class_id,name\nn1,"cat, tabby"\nn2,dog\n', (("cat, tabby", "dog"), ("n1", "n2"))),
        ("a.CSV", "wnid,class_index,label,more\nn2,1,dog,x\nn1,0,cat,y\n", (("cat", "dog"), ("n1", "n2"))),
        ("a.tsv", "class_index\tlabel\n0\tcat, tabby\n", (("cat, tabby",), ())),
        ("a.json", '["cat", "dog"]', (("cat", "dog"), ())),
        ("a.json", '\ufeff{"1": "dog", "0": "cat"}', (("cat", "dog"), ())),
        ("a.json", '{"0": ["n1", "cat"], "1": ["n2", "dog"]}', (("cat", "dog"), ("n1", "n2"))),
    ],
)
def test_tables_and_json_are_sorted_by_index(tmp_path: Path, name: str, content: str, expected: object) -> None:
    assert load_labels(written(tmp_path, name, content)) == expected


def test_indices_are_sorted_as_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", json.dumps({str(k): f"class {k}" for k in range(11)}))
    assert load_labels(path)[0][2] == "class 2"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "names no classes"),
        ("a.txt", "\n \n", "names no classes"),
        ("a.txt", "cat\n\ndog\n", "line 2 is empty"),
        ("a.txt", b"caf\xe9\n", "not UTF-8 text"),
        ("a.txt", b"\x00\x01cat\n", "not a text file"),
        ("a.csv", "", "no column 'label' or 'name'"),
        ("a.csv", "label\n", "names no classes"),
        ("a.csv", "image,class_index\na.jpg,0\n", r"no column 'label' or 'name' \(columns: image, class_index\)"),
        ("a.csv", "class_index,label\n0,cat\n1\n", "row 3 has 1 cells, the header has 2"),
        ("a.csv", "class_index,label\n0,cat\n0,dog\n", "class index 0 occurs twice"),
        ("a.csv", "class_index,label\n0,cat\n2,dog\n", r"class index 1 is missing \(the largest is 2\)"),
        ("a.csv", "class_index,label\n0,cat\nx,dog\n", "'x' is not the index"),
        ("a.csv", "class_index,label\n-1,cat\n", "'-1' is not the index"),
        ("a.csv", "class_index,label\n0,\n", "class 0 has no label"),
        ("a.csv", "class_id,label\nn1,cat\n,dog\n", "class 1 has no class id"),
        ("a.csv", "class_id,label\nn1,cat\nn1,dog\n", "class id n1 occurs twice"),
        ("a.csv", 'label\n"cat\n', "cannot be read as a table"),
        ("a.json", '["cat"', "cannot be read as JSON"),
        ("a.json", "[" * 100_000, "cannot be read as JSON"),
        ("a.json", "[]", "names no classes"),
        ("a.json", "{}", "names no classes"),
        ("a.json", '"cat"', "a list of labels"),
        ("a.json", "[1, 2]", "a list of labels"),
        ("a.json", '{"0": "cat", "1": ["n2", "dog"]}', "a list of labels"),
        ("a.json", '{"0": {"a": "b", "c": "d"}}', "a list of labels"),
        ("a.json", '{"cat": 0}', "'cat' is not the index"),
        ("a.json", '{"0": "cat", "0": "dog"}', "class index 0 occurs twice"),
        ("a.json", '{"0": "cat", "00": "dog"}', "class index 0 occurs twice"),
        ("a.json", '{"1": "cat"}', "class index 0 is missing"),
        ("a.json", '["cat", " "]', "class 1 has no label"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(DataError, match=message) as caught:
        load_labels(path)
    assert str(caught.value).startswith(f"--labels {path}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt cannot be read"):
        load_labels(tmp_path / "none.txt")


def test_a_file_of_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.txt").open("wb") as stream:
        stream.truncate(2**36)  # a sparse file, which takes no space
    with pytest.raises(DataError, match="has more than 64 MB"):
        load_labels(tmp_path / "huge.txt")
