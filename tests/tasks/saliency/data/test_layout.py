"""Test the search and pairing of the files of a data set."""

import os
from pathlib import Path

import pytest

from cvkit.errors import DataError
from cvkit.tasks.saliency.data.layout import ALL, Example, Layout, evaluation_examples, read_layout, train_val_split


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
        (ALL, "a", "maps/a.png", "fixations/a.csv"),
        (ALL, "b", None, "fixations/b.mat"),
    ]
    assert layout.unpaired == {} and layout.splits() == [ALL]


@pytest.mark.parametrize("name", ["maps", "fixation_maps", "saliency", "density"])
def test_every_name_of_the_maps_folder_is_accepted(tmp_path: Path, name: str) -> None:
    make(tmp_path, "images/a.jpg", f"{name}/a.png")
    assert rows(read_layout(tmp_path)) == [(ALL, "a", f"{name}/a.png", None)]


def test_the_first_name_of_the_maps_folder_takes_precedence(tmp_path: Path) -> None:
    make(tmp_path, "images/a.jpg", "maps/a.png", "density/a.png")
    assert rows(read_layout(tmp_path)) == [(ALL, "a", "maps/a.png", None)]


@pytest.mark.parametrize("inside", [True, False])
def test_split_folders_may_be_inside_or_outside_of_the_kind_folders(tmp_path: Path, inside: bool) -> None:
    def path(folder: str, split: str, name: str) -> str:
        return f"{folder}/{split}/{name}" if inside else f"{split}/{folder}/{name}"

    make(tmp_path, path("images", "training", "a.jpg"), path("maps", "training", "a.png"))
    make(tmp_path, path("images", "validation", "a.jpg"), path("maps", "validation", "a.png"))
    make(tmp_path, path("images", "test", "z.jpg"), path("fixations", "test", "z.npy"))
    layout = read_layout(tmp_path)
    assert [(e.split, e.key) for e in layout.examples] == [("test", "z"), ("train", "a"), ("val", "a")]
    assert layout.splits() == ["train", "val", "test"]
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
    assert [(e.split, e.key) for e in read_layout(tmp_path).examples] == [(ALL, "indoor/a"), (ALL, "outdoor/a")]


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
        ("image,map,split\na.jpg,a.png,holdout\n", "split 'holdout' is not one of train, val, test"),
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


def layout_of(**counts: int) -> Layout:
    names = {"whole": ALL}
    examples = [
        Example(key=f"{split}{i}", split=names.get(split, split), image=Path(f"{split}{i}.jpg"))
        for split, count in counts.items()
        for i in range(count)
    ]
    return Layout(root=Path("data"), examples=examples)


def test_existing_splits_are_kept() -> None:
    train, val = train_val_split(layout_of(train=3, val=2, test=4), 0.5, seed=0)
    assert [e.key for e in train] == ["train0", "train1", "train2"] and [e.key for e in val] == ["val0", "val1"]


@pytest.mark.parametrize("name", ["train", "whole"])
def test_the_seed_determines_the_fraction_for_validation(name: str) -> None:
    layout = layout_of(**{name: 20, "test": 3})
    train, val = train_val_split(layout, 0.1, seed=1)
    assert len(train) == 18 and len(val) == 2
    assert {e.key for e in train} | {e.key for e in val} == {f"{name}{i}" for i in range(20)}
    assert {e.split for e in train} == {"train"} and {e.split for e in val} == {"val"}
    assert train_val_split(layout, 0.1, seed=1) == (train, val)
    assert any(train_val_split(layout, 0.1, seed=seed)[1] != val for seed in (2, 3, 4))


def test_validation_gets_at_least_one_image_and_never_all() -> None:
    assert [len(part) for part in train_val_split(layout_of(whole=2), 0.01, 0)] == [1, 1]
    assert [len(part) for part in train_val_split(layout_of(whole=2), 0.99, 0)] == [1, 1]
    with pytest.raises(DataError, match="one image only"):
        train_val_split(layout_of(whole=1), 0.5, 0)
    with pytest.raises(DataError, match=r"no training images; the splits found are val, test"):
        train_val_split(layout_of(val=1, test=1), 0.5, 0)


def test_evaluation_uses_val_then_test_then_all_images() -> None:
    both = layout_of(train=1, val=2, test=3)
    assert len(evaluation_examples(both, None)) == 2
    assert len(evaluation_examples(layout_of(train=1, test=3), None)) == 3
    assert len(evaluation_examples(layout_of(whole=4), None)) == 4
    assert len(evaluation_examples(both, "training")) == 1 and len(evaluation_examples(both, "all")) == 6
    with pytest.raises(DataError, match="no split 'tset'; there are: train, val, test"):
        evaluation_examples(both, "tset")
    with pytest.raises(DataError, match=r"there are: \(none\)"):
        evaluation_examples(layout_of(whole=1), "val")


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
