"""Test the true classes of images from folders and from CSV files."""

import csv
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from cvkit.errors import DataError
from cvkit.inputs import Input, find_inputs
from cvkit.tasks.classification.truth import Truth, read_truth

LABELS = ("tench", "great white shark", "crane", "Cardigan", "crane", "cardigan")
IDS = ("n01440764", "n01484850", "n02012849", "n02113186", "n03126707", "n02963159")


def item(path: str) -> Input:
    return Input(path=Path(path), name=path, stem=path)


def table(folder: Path, text: str) -> str:
    file = folder / "truth.csv"
    file.write_text(text, encoding="utf-8")
    return str(file)


def from_table(folder: Path, text: str) -> Truth:
    return read_truth(table(folder, text), LABELS, IDS, 6)


def refusal(folder: Path, text: str) -> str:
    """Return the error message for a table, without the path that it starts with."""
    with pytest.raises(DataError) as caught:
        from_table(folder, text)
    message = str(caught.value)
    assert message.startswith(str(folder / "truth.csv")) and "\n" not in message
    return message.removeprefix(str(folder / "truth.csv"))


# Folders


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("n01484850", 1),
        ("N01484850", 1),
        ("1", 1),
        ("0001", 1),
        ("0", 0),
        ("tench", 0),
        ("Great_White_Shark", 1),
        ("great white  shark", 1),
        ("Cardigan", 3),  # the exact spelling is preferred
        ("cardigan", 5),
    ],
)
def test_a_folder_is_a_wordnet_id_an_index_or_a_label(folder: str, expected: int) -> None:
    truth = read_truth("folders", LABELS, IDS, 6)
    assert truth.class_of(item(f"data/{folder}/a.jpg")) == expected
    assert truth.class_of(item(f"/data/2/{folder}/b.jpg")) == expected


def test_an_unknown_folder_is_reported_with_the_nearest_label() -> None:
    truth = read_truth("folders", LABELS, IDS, 6)
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"folder 'tensch' is not named after one class: .* Did you mean 'tench'\?$"
        ):
            truth.class_of(item("data/tensch/a.jpg"))
    assert truth.class_of(item("data/tench/a.jpg")) == 0


@pytest.mark.parametrize("folder", ["6", "1000", "9" * 5000])
def test_a_folder_with_an_index_out_of_range_is_refused(folder: str) -> None:
    with pytest.raises(DataError, match=r"out of range \(0 to 5\)") as caught:
        read_truth("folders", LABELS, IDS, 6).class_of(item(f"{folder}/a.jpg"))
    assert len(str(caught.value)) < 300


def test_without_labels_a_folder_must_be_an_index() -> None:
    truth = read_truth("folders", (), (), 6)
    assert truth.class_of(item("5/a.jpg")) == 5
    with pytest.raises(DataError, match=r"labels of the model are unknown: use the index .* --labels FILE"):
        truth.class_of(item("tench/a.jpg"))


def test_relative_paths_use_the_name_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tench" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "tench")
    truth = read_truth("folders", LABELS, IDS, 6)
    assert truth.class_of(item("a.jpg")) == 0
    assert truth.class_of(item("./a.jpg")) == 0
    monkeypatch.chdir(tmp_path / "tench" / "deeper")
    assert truth.class_of(item("../a.jpg")) == 0


def test_a_symbolic_link_belongs_to_the_folder_that_contains_it(tmp_path: Path) -> None:
    for name in ("all", "tench"):
        (tmp_path / name).mkdir()
    (tmp_path / "all" / "a.jpg").touch()
    (tmp_path / "tench" / "a.jpg").symlink_to(tmp_path / "all" / "a.jpg")
    [found] = find_inputs([str(tmp_path / "tench")])
    assert read_truth("folders", LABELS, IDS, 6).class_of(found) == 0


# The columns of a CSV file


@pytest.mark.parametrize(
    "text",
    [
        "image,class_index\na.jpg,1\n",
        "image,class_id\na.jpg,n01484850\n",
        "image,wnid\na.jpg,N01484850\n",
        "image,label\na.jpg,Great_white shark\n",
        "\ufeffimage,label\r\na.jpg,great white shark\r\n",
        "\n\n Image , Class_Index \n\n a.jpg , 1 \n,\n",
        'other,label,image\n"x, y","great white shark","a.jpg"\n',
        "image,class_index,extra\na.jpg,001,,,\n",
        "image,label,class_index,wnid\na.jpg,any prose,1,n01484850\n",
        "image,class_index,class_id\na.jpg,,n01484850\n",
        "image,class_index,wnid,label\na.jpg,,,great white shark\n",
    ],
)
def test_each_column_names_a_class(tmp_path: Path, text: str) -> None:
    truth = from_table(tmp_path, text)
    assert truth.class_of(item("a.jpg")) == 1
    assert truth.class_of(item("b.jpg")) is None


def test_an_index_precedes_a_label(tmp_path: Path) -> None:
    assert from_table(tmp_path, "image,label,class_index\na.jpg,tench,5\n").class_of(item("a.jpg")) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "image,wnid,class_index\na.jpg,n01440764,0\nb.jpg,n01440764,1\n",
            ": line 3: class_index 1 and wnid n01440764",
        ),
        ("image,class_id,class_index\na.jpg,n09999999,0\n", ": line 2: the model has no class with the id 'n09999999'"),
        ("image,class_index\na.jpg,6\n", ": line 2: the class index 6 is out of range (0 to 5)."),
        ("image,class_index\na.jpg,-1\n", ": line 2: the class index -1 is out of range (0 to 5)."),
        ("image,class_index\na.jpg,1.0\n", ": line 2: '1.0' is not a class index (0 to 5)."),
        ("image,class_index\na.jpg,²\n", ": line 2: '²' is not a class index (0 to 5)."),
        (
            "image,label\na.jpg,tench\n\nb.jpg,grate white shark\n",
            ": line 4: the model has no class 'grate white shark'. Did you mean 'great white shark'?",
        ),
        (
            "image,label\na.jpg,crane\n",
            ": line 2: 'crane' is the name of 2 classes: 2 (n02012849), 4 (n03126707). Use the index or ",
        ),
        ("image,label\na.jpg,6\n", ": line 2: the class index 6 is out of range (0 to 5)."),
        ("image,label\na.jpg,n09999999\n", ": line 2: the model has no class with the id 'n09999999'."),
        ("image,label\na.jpg,\n", ": line 2: names no class (label empty)."),
        ("image,label\n,tench\n", ": line 2: the column image is empty."),
        ("image,wnid,label\na.jpg,n01440764\n", ": line 2: has 2 of 3 columns"),
        ("image,label\na.jpg,tench, Tinca tinca\n", ": line 2: has 3 of 2 columns; a cell with a comma needs quotes."),
        (
            "image,class\na.jpg,0\n",
            ": line 1: the file needs the columns image and one of class_index, class_id (or wnid), label",
        ),
        ("\nfile,label\na.jpg,tench\n", ": line 2: the file needs the columns image and one of"),
        ("image;label\na.jpg;tench\n", ": line 1: the file needs the columns image and one of"),
        ("image,label,label\na.jpg,tench,crane\n", ": line 1: the column label occurs twice."),
        ("image,label\n", ": line 1 is the header, and no row follows it."),
        ("", ": line 1: the file is empty; it needs the columns image and"),
        (" \n\n", ": line 1: the file is empty"),
        (
            ",,\n",
            ": line 1: the file needs the columns image and one of class_index, class_id (or wnid), label, separated",
        ),
        ('image,label\na.jpg,"tench\nb.jpg,crane\n', ": line 3: damaged CSV"),
        ('image,label\na.jpg,"tench" x\n', ": line 2: damaged CSV"),
        ('image,label\na.jpg,"ten\nch"\n', ": line 3: the model has no class 'ten\\nch'."),
        ("image,label\n" + 200 * "x" + ",\x1b[31m\n", ": line 2: the model has no class '\\x1b[31m'."),
    ],
)
def test_an_invalid_table_is_refused_with_the_line(tmp_path: Path, text: str, expected: str) -> None:
    assert refusal(tmp_path, text).startswith(expected)


def test_the_message_names_the_columns_and_the_nearest_label(tmp_path: Path) -> None:
    assert refusal(tmp_path, "file,class\na.jpg,0\n").endswith("its columns are file, class.")
    assert refusal(tmp_path, "image,label\na.jpg,Grate_white_shark\n").endswith("Did you mean 'great white shark'?")


def test_without_labels_only_indices_work(tmp_path: Path) -> None:
    for column, word in (("label", "tench"), ("wnid", "n01440764")):
        with pytest.raises(
            DataError, match=rf"line 1: the class is given by {column} only, but .* are unknown: use class_index"
        ):
            read_truth(table(tmp_path, f"image,{column}\na.jpg,{word}\n"), (), (), 6)
    mixed = table(tmp_path, "image,wnid,label,class_index\na.jpg,n01440764,tench,5\n")
    assert read_truth(mixed, (), (), 6).class_of(item("a.jpg")) == 5
    with pytest.raises(DataError, match="line 2: names no class"):
        read_truth(table(tmp_path, "image,label,class_index\na.jpg,tench,\n"), (), (), 6)


def test_the_message_names_class_id_if_the_ids_are_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="labels of the model are unknown: use class_index or class_id"):
        read_truth(table(tmp_path, "image,label\na.jpg,tench\n"), (), IDS, 6)


def test_missing_files_folders_and_other_encodings_are_refused(tmp_path: Path) -> None:
    for source in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match=f"^{source}: .*give a CSV file, or 'folders'"):
            read_truth(str(source), LABELS, IDS, 6)
    other = tmp_path / "other.csv"
    other.write_bytes("image,label\na.jpg,tench\nb.jpg,caf\xe9\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"other\.csv: line 3: not UTF-8"):
        read_truth(str(other), LABELS, IDS, 6)
    other.write_bytes("image,label\na.jpg,tench\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"other\.csv: line 1: not UTF-8"):
        read_truth(str(other), LABELS, IDS, 6)


# Matching of images to rows


def test_the_path_as_written_precedes_the_longest_suffix(tmp_path: Path) -> None:
    truth = from_table(
        tmp_path,
        "image,class_index\na.jpg,0\ntrain/a.jpg,1\nx/train/a.jpg,2\n/old/place/b.jpg,3\n/abs/c.jpg,4\nc.jpg,5\n",
    )
    expected = {
        "a.jpg": 0,
        "/data/val/a.jpg": 0,
        "train/a.jpg": 1,
        "/data/train/a.jpg": 1,
        "/data/x/train/a.jpg": 2,
        "/data/place/b.jpg": 3,
        "/data/new/b.jpg": None,  # the row has another folder: the file name alone is not enough
        "/abs/c.jpg": 4,
        "/other/abs/c.jpg": 4,
        "/other/c.jpg": 5,
        "/other/ac.jpg": None,
        "/other/A.jpg": None,
    }
    assert {path: truth.class_of(item(path)) for path in expected} == expected


def test_a_row_that_is_a_suffix_precedes_rows_that_share_the_suffix(tmp_path: Path) -> None:
    truth = from_table(tmp_path, "image,class_index\ny/a.jpg,1\na.jpg,2\nz/a.jpg,3\n")
    assert truth.class_of(item("/data/x/a.jpg")) == 2


def test_equivalent_spellings_of_a_path_match(tmp_path: Path) -> None:
    truth = from_table(tmp_path, "image,class_index\n./train\\a.jpg,1\nval//a.jpg,2\nx/../test/a.jpg,3\n")
    assert [truth.class_of(item(f"data/{split}/a.jpg")) for split in ("train", "val", "test")] == [1, 2, 3]
    assert truth.class_of(item("data/val/../train/a.jpg")) == 1


def test_an_image_in_the_working_directory_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "val").mkdir()
    monkeypatch.chdir(tmp_path / "val")
    rows = "image,class_index\ntrain/a.jpg,1\nval/a.jpg,2\n"
    assert from_table(tmp_path, rows).class_of(item("a.jpg")) == 2
    # An image written exactly as in the table matches that row.
    assert from_table(tmp_path, rows + "a.jpg,3\n").class_of(item("a.jpg")) == 3


def test_a_name_that_matches_rows_of_different_classes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the folder of a relative path counts, too
    truth = from_table(tmp_path, "image,class_index\nx/w/a.jpg,1\ny/w/a.jpg,2\nz/w/a.jpg,1\nx/w/b.jpg,3\ny/w/b.jpg,3\n")
    assert truth.class_of(item("y/w/a.jpg")) == 2
    assert truth.class_of(item("w/b.jpg")) == 3  # both rows agree
    with pytest.raises(
        DataError, match=r"truth\.csv: line 2 \(class 1\) and line 3 \(class 2\) match w/a\.jpg: write more of its path"
    ):
        truth.class_of(item("w/a.jpg"))


def test_an_image_with_two_classes_is_refused(tmp_path: Path) -> None:
    text = "image,class_index\na.jpg,1\nb.jpg,2\na.jpg,{}\n"
    message = refusal(tmp_path, text.format(2))
    assert message == ": line 4: a.jpg is class 2 here and class 1 in line 2: write more of its path (folder/name)."
    assert from_table(tmp_path, text.format(1)).class_of(item("a.jpg")) == 1
    assert refusal(tmp_path, "image,class_index\nx/a.jpg,1\nx/a.jpg,2\n").endswith("class 1 in line 2: correct one.")


def test_unicode_names_match(tmp_path: Path) -> None:
    truth = from_table(tmp_path, 'image,class_index\n"Straße, 1/猫 .jpg",3\n')
    assert truth.class_of(item("/data/Straße, 1/猫 .jpg")) == 3
    assert truth.class_of(item("/data/caf\udce9.jpg")) is None  # a name that is not UTF-8


@pytest.mark.parametrize("pattern", ["{i:08d}.jpg", "train/{c}/{k}.jpg", "a/b/{i}/image.jpg"])
def test_many_rows_load_fast_and_all_images_match(tmp_path: Path, pattern: str) -> None:
    names = [pattern.format(i=i, c=i % 6, k=i // 6) for i in range(20000)]
    text = "image,class_index\n" + "".join(f"{name},{i % 6}\n" for i, name in enumerate(names))
    start = time.process_time()
    truth = from_table(tmp_path, text)
    assert [truth.class_of(item(f"/data/{name}")) for name in names] == [i % 6 for i in range(20000)]
    # Takes about 0.3 s; a search through the rows for each image would take minutes.
    assert time.process_time() - start < 5


@pytest.mark.shared
def test_the_sample_images_have_the_wordnet_ids_of_timm(shared: Path) -> None:
    # Read as a file: importing timm takes seconds.
    spec = find_spec("timm")
    assert spec is not None and spec.origin is not None
    ids = (Path(spec.origin).parent / "data" / "_info" / "imagenet_synsets.txt").read_text().split()
    samples = shared / "data" / "imagenet-samples"
    with (samples / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = {row["image"]: row for row in csv.DictReader(stream)}
    images = find_inputs([str(samples)])
    truth = read_truth(str(samples / "labels.csv"), (), ids, 1000)
    assert len(ids) == 1000 and len(images) == len(rows) == 160
    for image in images:
        row = rows[image.path.name]
        assert truth.class_of(image) == int(row["class_index"])
        assert ids[int(row["class_index"])] == row["wnid"] == image.path.name[:9]


def test_a_folder_that_cannot_be_searched_stands_for_the_images_in_it() -> None:
    truth = read_truth("folders", LABELS, IDS, 6)
    assert truth.class_of(Input(path=Path("photos/tench"), name="photos/tench", stem="tench", is_folder=True)) == 0
