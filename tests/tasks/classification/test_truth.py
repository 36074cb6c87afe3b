"""The true classes of images, from folders and from CSV files."""

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
    """The message with which a table is refused; it names the file and is one line."""
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
        ("Cardigan", 3),  # the exact spelling decides
        ("cardigan", 5),
    ],
)
def test_a_folder_is_a_wordnet_id_an_index_or_a_label(folder: str, expected: int) -> None:
    truth = read_truth("folders", LABELS, IDS, 6)
    assert truth.of(item(f"data/{folder}/a.jpg")) == expected
    assert truth.of(item(f"/data/2/{folder}/b.jpg")) == expected


def test_a_folder_that_is_no_class_is_named_with_the_nearest_label() -> None:
    truth = read_truth("folders", LABELS, IDS, 6)
    for _ in range(2):
        with pytest.raises(DataError, match=r"Folder 'tensch' must name one class .* Did you mean 'tench'\?$"):
            truth.of(item("data/tensch/a.jpg"))
    assert truth.of(item("data/tench/a.jpg")) == 0


def test_a_thousand_labels_are_not_listed_where_none_is_near() -> None:
    truth = read_truth("folders", [f"label {index}" for index in range(1000)], (), 1000)
    with pytest.raises(DataError) as caught:
        truth.of(item("xyz/a.jpg"))
    assert str(caught.value).endswith(": 'xyz' is no label of this network.")


@pytest.mark.parametrize("folder", ["crane", "CRANE"])
def test_a_folder_of_an_ambiguous_label_says_so(folder: str) -> None:
    advice = r"label of 2 classes: use class_id \(n02012849 or n03126707\) or class_index \(2 or 4\)"
    with pytest.raises(DataError, match=advice):
        read_truth("folders", LABELS, IDS, 6).of(item(f"{folder}/a.jpg"))


def test_labels_that_differ_in_case_are_ambiguous_unless_one_is_spelt_the_same() -> None:
    with pytest.raises(DataError, match=r"2 classes.*\(3 or 5\)"):
        read_truth("folders", LABELS, IDS, 6).of(item("CARDIGAN/a.jpg"))


def test_a_wordnet_id_of_another_network_gets_no_guess() -> None:
    with pytest.raises(DataError, match=r"'n01440765' is no class id of this network\. Leave it out"):
        read_truth("folders", LABELS, IDS, 6).of(item("n01440765/a.jpg"))


@pytest.mark.parametrize("folder", ["6", "1000", "9" * 5000])
def test_a_folder_of_an_index_too_large_is_refused(folder: str) -> None:
    with pytest.raises(DataError, match=r"out of range 0\.\.5") as caught:
        read_truth("folders", LABELS, IDS, 6).of(item(f"{folder}/a.jpg"))
    assert len(str(caught.value)) < 300


def test_labels_that_are_numbers_go_before_indices() -> None:
    # As torchvision's ImageFolder sorts the folders 1, 2, 10.
    truth = read_truth("folders", ("1", "10", "2"), (), 3)
    assert [truth.of(item(f"{name}/a.jpg")) for name in ("1", "10", "2", "0")] == [0, 1, 2, 0]


def test_without_labels_a_folder_must_be_an_index() -> None:
    truth = read_truth("folders", (), (), 6)
    assert truth.of(item("5/a.jpg")) == 5
    with pytest.raises(DataError, match=r"no class index \(0\.\.5\).*unknown.*--labels FILE.*only class_index works"):
        truth.of(item("tench/a.jpg"))


def test_the_folder_of_an_image_beside_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tench" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "tench")
    truth = read_truth("folders", LABELS, IDS, 6)
    assert truth.of(item("a.jpg")) == 0
    assert truth.of(item("./a.jpg")) == 0
    monkeypatch.chdir(tmp_path / "tench" / "deeper")
    assert truth.of(item("../a.jpg")) == 0


def test_a_link_counts_for_the_folder_it_lies_in(tmp_path: Path) -> None:
    for name in ("all", "tench"):
        (tmp_path / name).mkdir()
    (tmp_path / "all" / "a.jpg").touch()
    (tmp_path / "tench" / "a.jpg").symlink_to(tmp_path / "all" / "a.jpg")
    [found] = find_inputs([str(tmp_path / "tench")])
    assert read_truth("folders", LABELS, IDS, 6).of(found) == 0


def test_labels_must_be_as_many_as_classes() -> None:
    with pytest.raises(DataError, match="There are 6 labels for 10 classes"):
        read_truth("folders", LABELS, (), 10)
    with pytest.raises(DataError, match="There are 6 class ids for 10 classes"):
        read_truth("folders", (), IDS, 10)


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
def test_every_way_to_name_a_class(tmp_path: Path, text: str) -> None:
    truth = from_table(tmp_path, text)
    assert truth.of(item("a.jpg")) == 1
    assert truth.of(item("b.jpg")) is None


def test_an_index_wins_over_a_label(tmp_path: Path) -> None:
    assert from_table(tmp_path, "image,label,class_index\na.jpg,tench,5\n").of(item("a.jpg")) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "image,wnid,class_index\na.jpg,n01440764,0\nb.jpg,n01440764,1\n",
            ": line 3: class_index 1 and wnid n01440764",
        ),
        ("image,class_id,class_index\na.jpg,n09999999,0\n", ": line 2: 'n09999999' is no class id"),
        ("image,class_index\na.jpg,6\n", ": line 2: the class index 6 is out of range 0..5."),
        ("image,class_index\na.jpg,-1\n", ": line 2: the class index -1 is out of range 0..5."),
        ("image,class_index\na.jpg,1.0\n", ": line 2: '1.0' is no class index (0..5)."),
        ("image,class_index\na.jpg,²\n", ": line 2: '²' is no class index (0..5)."),
        ("image,label\na.jpg,tench\n\nb.jpg,grate white shark\n", ": line 4: 'grate white shark' is no label"),
        ("image,label\na.jpg,crane\n", ": line 2: 'crane' is the label of 2 classes: use class_id (n02012849 or "),
        ("image,label\na.jpg,5\n", ": line 2: '5' is no label of this network. It belongs in a column class_index."),
        ("image,label\na.jpg,n01440764\n", ": line 2: 'n01440764' is no label of this network. It belongs in a column"),
        ("image,label\na.jpg,\n", ": line 2: names no class (label empty)."),
        ("image,label\n,tench\n", ": line 2: the column image is empty."),
        ("image,wnid,label\na.jpg,n01440764\n", ": line 2: has 2 of 3 columns"),
        ("image,label\na.jpg,tench, Tinca tinca\n", ": line 2: has 3 of 2 columns; a cell with a comma needs quotes."),
        (
            "image,class\na.jpg,0\n",
            ": line 1: needs the columns image and one of class_index, class_id (or wnid), label",
        ),
        ("\nfile,label\na.jpg,tench\n", ": line 2: needs the columns image and one of"),
        ("image;label\na.jpg;tench\n", ": line 1: needs the columns image and one of"),
        ("image,label,label\na.jpg,tench,crane\n", ": line 1: the column label is there twice."),
        ("image,label\n", ": line 1 names the columns, and no image follows it."),
        ("", ": line 1: the file is empty; it needs the columns image and"),
        (" \n\n", ": line 1: the file is empty"),
        (",,\n", ": line 1: needs the columns image and one of class_index, class_id (or wnid), label, separated by"),
        ('image,label\na.jpg,"tench\nb.jpg,crane\n', ": line 3: damaged CSV"),
        ('image,label\na.jpg,"tench" x\n', ": line 2: damaged CSV"),
        ('image,label\na.jpg,"ten\nch"\n', ": line 3: 'ten\\nch' is no label of this network."),
        ("image,label\n" + 200 * "x" + ",\x1b[31m\n", ": line 2: '\\x1b[31m' is no label of this network."),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_by_line(tmp_path: Path, text: str, expected: str) -> None:
    assert refusal(tmp_path, text).startswith(expected)


def test_the_columns_found_and_the_nearest_label_are_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, "file,class\na.jpg,0\n").endswith("it has file, class.")
    assert refusal(tmp_path, "image,label\na.jpg,Grate_white_shark\n").endswith("Did you mean 'great white shark'?")


def test_without_labels_only_indices_work(tmp_path: Path) -> None:
    for column, word in (("label", "tench"), ("wnid", "n01440764")):
        with pytest.raises(DataError, match=rf"line 1: has {column}, .*unknown.*: only class_index works"):
            read_truth(table(tmp_path, f"image,{column}\na.jpg,{word}\n"), (), (), 6)
    mixed = table(tmp_path, "image,wnid,label,class_index\na.jpg,n01440764,tench,5\n")
    assert read_truth(mixed, (), (), 6).of(item("a.jpg")) == 5
    with pytest.raises(DataError, match="line 2: names no class"):
        read_truth(table(tmp_path, "image,label,class_index\na.jpg,tench,\n"), (), (), 6)


def test_with_ids_alone_the_message_names_them_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels of this network are unknown.*only class_index or class_id works"):
        read_truth(table(tmp_path, "image,label\na.jpg,tench\n"), (), IDS, 6)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
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


# Which row is which image


def test_the_path_as_written_goes_first_then_the_longest_tail(tmp_path: Path) -> None:
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
    assert {path: truth.of(item(path)) for path in expected} == expected


def test_a_row_that_ends_the_path_goes_before_one_that_shares_its_end(tmp_path: Path) -> None:
    truth = from_table(tmp_path, "image,class_index\ny/a.jpg,1\na.jpg,2\nz/a.jpg,3\n")
    assert truth.of(item("/data/x/a.jpg")) == 2


def test_spellings_of_one_path_are_one(tmp_path: Path) -> None:
    truth = from_table(tmp_path, "image,class_index\n./train\\a.jpg,1\nval//a.jpg,2\nx/../test/a.jpg,3\n")
    assert [truth.of(item(f"data/{split}/a.jpg")) for split in ("train", "val", "test")] == [1, 2, 3]
    assert truth.of(item("data/val/../train/a.jpg")) == 1


def test_an_image_beside_the_command_is_told_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "val").mkdir()
    monkeypatch.chdir(tmp_path / "val")
    rows = "image,class_index\ntrain/a.jpg,1\nval/a.jpg,2\n"
    assert from_table(tmp_path, rows).of(item("a.jpg")) == 2
    # Written exactly as in the table, it is that row.
    assert from_table(tmp_path, rows + "a.jpg,3\n").of(item("a.jpg")) == 3


def test_a_name_that_fits_rows_of_different_classes_is_ambiguous(tmp_path: Path) -> None:
    truth = from_table(tmp_path, "image,class_index\nx/w/a.jpg,1\ny/w/a.jpg,2\nz/w/a.jpg,1\nx/w/b.jpg,3\ny/w/b.jpg,3\n")
    assert truth.of(item("y/w/a.jpg")) == 2
    assert truth.of(item("w/b.jpg")) == 3  # both rows agree
    with pytest.raises(
        DataError, match=r"truth\.csv: line 2 \(class 1\) and line 3 \(class 2\) fit w/a\.jpg: write more of its path"
    ):
        truth.of(item("w/a.jpg"))


def test_a_table_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    text = "image,class_index\na.jpg,1\nb.jpg,2\na.jpg,{}\n"
    message = refusal(tmp_path, text.format(2))
    assert message == ": line 4: a.jpg is class 2 here and class 1 in line 2: write more of its path (folder/name)."
    assert from_table(tmp_path, text.format(1)).of(item("a.jpg")) == 1
    assert refusal(tmp_path, "image,class_index\nx/a.jpg,1\nx/a.jpg,2\n").endswith("class 1 in line 2: correct one.")


def test_names_in_any_script(tmp_path: Path) -> None:
    truth = from_table(tmp_path, 'image,class_index\n"Straße, 1/猫 .jpg",3\n')
    assert truth.of(item("/data/Straße, 1/猫 .jpg")) == 3
    assert truth.of(item("/data/caf\udce9.jpg")) is None  # a name that is no UTF-8


@pytest.mark.parametrize("pattern", ["{i:08d}.jpg", "train/{c}/{k}.jpg", "a/b/{i}/image.jpg"])
def test_many_rows_load_fast_and_are_all_found(tmp_path: Path, pattern: str) -> None:
    names = [pattern.format(i=i, c=i % 6, k=i // 6) for i in range(20000)]
    text = "image,class_index\n" + "".join(f"{name},{i % 6}\n" for i, name in enumerate(names))
    start = time.process_time()
    truth = from_table(tmp_path, text)
    assert [truth.of(item(f"/data/{name}")) for name in names] == [i % 6 for i in range(20000)]
    # Takes about 0.3 s; a search through the rows for each image would take minutes.
    assert time.process_time() - start < 5


@pytest.mark.shared
def test_the_sample_images_and_the_wordnet_ids_of_timm(shared: Path) -> None:
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
        assert truth.of(image) == int(row["class_index"])
        assert ids[int(row["class_index"])] == row["wnid"] == image.path.name[:9]
