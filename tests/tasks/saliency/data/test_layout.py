"""Test the search and pairing of the files of a data set."""

import os
from pathlib import Path

import pytest

from cvkit.data.splits import UNSPLIT
from cvkit.errors import DataError
from cvkit.tasks.saliency.data.layout import Layout, read_layout


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def rows(layout: Layout) -> list[tuple[str, str, str | None, str | None]]:
    """Return each example as (split, key, map, fixations), with paths relative to the data set."""

    def inside(path: Path | None) -> str | None:
        return None if path is None else path.relative_to(layout.root).as_posix()

    return [(e.split, e.key, inside(e.map), inside(e.fixations)) for e in layout.examples]


def test_images_are_paired_with_maps_and_fixations(tmp_path: Path) -> None:
    make(tmp_path, "images/b.jpg", "images/a.jpg", "maps/a.png", "fixations/a.csv", "fixations/b.mat")
    layout = read_layout(tmp_path)
    assert rows(layout) == [
        (UNSPLIT, "a", "maps/a.png", "fixations/a.csv"),
        (UNSPLIT, "b", None, "fixations/b.mat"),
    ]
    assert layout.unpaired == {} and layout.counts() == {UNSPLIT: 2}


@pytest.mark.parametrize("name", ["maps", "fixation_maps", "saliency", "density"])
def test_every_name_of_the_maps_folder_is_accepted(tmp_path: Path, name: str) -> None:
    make(tmp_path, "images/a.jpg", f"{name}/a.png")
    assert rows(read_layout(tmp_path)) == [(UNSPLIT, "a", f"{name}/a.png", None)]


def test_the_first_name_of_the_maps_folder_takes_precedence(tmp_path: Path) -> None:
    make(tmp_path, "images/a.jpg", "maps/a.png", "density/a.png")
    assert rows(read_layout(tmp_path)) == [(UNSPLIT, "a", "maps/a.png", None)]


@pytest.mark.parametrize("inside", [True, False])
def test_split_folders_may_be_inside_or_outside_of_the_kind_folders(tmp_path: Path, inside: bool) -> None:
    def path(folder: str, split: str, name: str) -> str:
        return f"{folder}/{split}/{name}" if inside else f"{split}/{folder}/{name}"

    make(tmp_path, path("images", "training", "a.jpg"), path("maps", "training", "a.png"))
    make(tmp_path, path("images", "validation", "a.jpg"), path("maps", "validation", "a.png"))
    make(tmp_path, path("images", "test", "z.jpg"), path("fixations", "test", "z.npy"))
    layout = read_layout(tmp_path)
    assert [(e.split, e.key) for e in layout.examples] == [("test", "z"), ("train", "a"), ("val", "a")]
    assert list(layout.counts()) == ["train", "val", "test"]
    assert [e.map for e in layout.split("val")] == [tmp_path / path("maps", "validation", "a.png")]


def test_the_layout_of_salicon_is_read(tmp_path: Path) -> None:
    stem = "COCO_train2014_000000000009"
    make(tmp_path, f"images/train/{stem}.jpg", f"maps/train/{stem}.png", f"fixations/train/{stem}.mat")
    make(tmp_path, "images/val/v.jpg", "maps/val/v.png", "fixations/val/v.mat", "images/test/t.jpg")
    layout = read_layout(tmp_path)
    assert rows(layout)[0] == ("train", stem, f"maps/train/{stem}.png", f"fixations/train/{stem}.mat")
    assert layout.unpaired == {"images without a map or fixations": [str(tmp_path / "images/test/t.jpg")]}


def test_upper_case_suffixes_and_dots_in_stems_are_accepted(tmp_path: Path) -> None:
    make(tmp_path, "images/a.b.JPG", "maps/a.b.PNG", "images/a.c.jpg", "maps/a.c.png")
    assert [e.key for e in read_layout(tmp_path).examples] == ["a.b", "a.c"]


def test_subfolders_are_part_of_the_key(tmp_path: Path) -> None:
    make(tmp_path, "images/indoor/a.jpg", "images/outdoor/a.jpg", "maps/indoor/a.png", "maps/outdoor/a.png")
    assert [(e.split, e.key) for e in read_layout(tmp_path).examples] == [(UNSPLIT, "indoor/a"), (UNSPLIT, "outdoor/a")]


@pytest.mark.parametrize("inside", [True, False])
def test_every_folder_beside_a_train_val_or_test_folder_is_a_split(tmp_path: Path, inside: bool) -> None:
    for split in ("train", "Holdout", "vall"):
        for kind, name in (("images", "x/a.jpg"), ("maps", "x/a.png")):
            make(tmp_path, f"{kind}/{split}/{name}" if inside else f"{split}/{kind}/{name}")
    make(tmp_path, ".hidden/images/a.jpg", "notes/a.jpg")
    layout = read_layout(tmp_path)
    assert layout.counts() == {"train": 1, "Holdout": 1, "vall": 1}
    assert {example.key for example in layout.examples} == {"x/a"} and layout.unpaired == {}


@pytest.mark.parametrize("inside", [True, False])
def test_a_folder_that_an_option_names_is_a_split(tmp_path: Path, inside: bool) -> None:
    for split in ("holdout", "fold1"):
        for kind, name in (("images", "a.jpg"), ("fixations", "a.csv")):
            make(tmp_path, f"{kind}/{split}/{name}" if inside else f"{split}/{kind}/{name}")
    assert read_layout(tmp_path, (None, "Fold1")).counts() == {"fold1": 1, "holdout": 1}
    if inside:
        assert read_layout(tmp_path, (None, "other")).counts() == {UNSPLIT: 2}


def test_maps_are_paired_with_a_split_that_only_their_folder_shows_to_be_one(tmp_path: Path) -> None:
    make(tmp_path, "images/train/a.jpg", "images/holdout/b.jpg", "maps/holdout/b.png")
    layout = read_layout(tmp_path)
    assert rows(layout) == [("holdout", "b", "maps/holdout/b.png", None)]
    assert layout.unpaired == {"images without a map or fixations": [str(tmp_path / "images/train/a.jpg")]}


def test_every_value_of_a_manifest_is_a_split(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "a.png")
    rows = "".join(f"a.jpg,a.png,{split}\n" for split in ("holdout", "Fold 1", "Validation", "", "holdout"))
    (tmp_path / "m.csv").write_text("image,map,split\n" + rows)
    assert read_layout(tmp_path / "m.csv").counts() == {"val": 1, "Fold 1": 1, "holdout": 2, UNSPLIT: 1}


def test_unpaired_files_are_listed(tmp_path: Path) -> None:
    make(tmp_path, "images/a.jpg", "images/a.png", "images/lonely.jpg", "images/notes.txt", "images/.hidden.jpg")
    make(tmp_path, "images/.ipynb_checkpoints/a.jpg")
    make(tmp_path, "maps/a.png", "maps/extra.png", "fixations/other.csv")
    layout = read_layout(tmp_path)
    assert [e.image.name for e in layout.examples] == ["a.jpg"]
    assert {kind: [Path(name).name for name in names] for kind, names in layout.unpaired.items()} == {
        "images without a map or fixations": ["lonely.jpg"],
        "maps without an image": ["extra.png"],
        "fixations without an image": ["other.csv"],
        "files whose stem another file has": ["a.png"],
    }


def test_the_error_for_an_empty_data_set_names_the_expected_and_the_existing_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_layout(tmp_path / "none")
    make(tmp_path, "images/a.jpg", "maps/b.png", "readme.txt")
    with pytest.raises(DataError, match=r"found 1 images, 1 maps, 0 fixation files among images/, maps/, readme\.txt"):
        read_layout(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"looked for images/ with maps/ .* among nothing"):
        read_layout(tmp_path / "empty")


def test_a_manifest_has_relative_and_absolute_paths(tmp_path: Path) -> None:
    make(tmp_path, "pics/a.jpg", "m/a.png", "f/b.csv", "pics/b.jpg", "pics/c.jpg")
    path = tmp_path / "list.csv"
    path.write_text(
        "\ufeffImage, map ,fixations,split,remark\n"
        f"pics/a.jpg, m/a.png,,Training,x\n{tmp_path}/pics/b.jpg,,f/b.csv,val,\n\npics/c.jpg,,,val,\n"
        "pics/gone.jpg,m/a.png,,,\npics/c.jpg,m/gone.png,,,\n",
        encoding="utf-8",
    )
    layout = read_layout(path)
    assert layout.root == tmp_path
    assert [(e.split, e.image.name, e.map, e.fixations) for e in layout.examples] == [
        ("train", "a.jpg", tmp_path / "m/a.png", None),
        ("val", "b.jpg", None, tmp_path / "f/b.csv"),
    ]
    assert {kind: [Path(name).name for name in names] for kind, names in layout.unpaired.items()} == {
        "images without a map or fixations": ["c.jpg"],
        "missing files of the manifest": ["gone.jpg", "gone.png"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has none"),
        ("picture,map\n", "this has picture, map"),
        ("image,split\na.jpg,train\n", "this has image, split"),
        ("image,map\nb.jpg,b.png\n", r"no row names an existing image .*\(1 rows\)"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    make(tmp_path, "a.jpg", "a.png")
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_layout(tmp_path / "m.csv")


def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match="not a readable manifest CSV"):
        read_layout(tmp_path / "x.jpg")


@pytest.mark.shared
def test_osie_is_read(shared: Path) -> None:
    layout = read_layout(shared / "data" / "osie")
    assert layout.split("train") and layout.split("val")
    assert all(example.fixations for example in layout.examples)


def test_paths_that_cannot_be_read_are_paired_or_reported(tmp_path: Path) -> None:
    make(tmp_path, "images/a.jpg", "images/..png", "maps/..png", "other/c.jpg", "maps/linked/c.png")
    os.mkfifo(tmp_path / "maps/a.png")
    (tmp_path / "images/linked").symlink_to("../other")
    (tmp_path / "images/again").symlink_to(".")
    (tmp_path / "maps/disk").symlink_to("/not/mounted")
    layout = read_layout(tmp_path)
    assert [key for _, key, _, _ in rows(layout)] == ["a", "linked/c"]  # a name with a leading dot is hidden
    assert layout.unpaired["folders that cannot be searched"] == [
        str(tmp_path / name) for name in ("images/again", "maps/disk")
    ]


def test_names_in_a_manifest_may_have_any_bytes(tmp_path: Path) -> None:
    names = ["d/..png", os.fsdecode(b"caf\xe9.png"), "a\u2028b.png", "=1.png"]
    make(tmp_path, *names)
    lines = [f"{name},{name}" for name in ["x" * 300, "a\0b", *names]]
    (tmp_path / "m.csv").write_bytes(os.fsencode("image,map\n" + "\n".join(lines) + "\n"))
    layout = read_layout(tmp_path / "m.csv")
    assert [example.image for example in layout.examples] == [tmp_path / name for name in names]
    assert layout.examples[0].key == "d/..png"
    assert len(layout.unpaired["missing files of the manifest"]) == 4


def test_a_fifo_is_no_data_set(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DataError, match="is a FIFO, not a file"):
        read_layout(tmp_path / "fifo")
