"""Test which maps of a folder belong to the images of a data set."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvkit.errors import DataError
from cvkit.inputs.stems import unique_stems
from cvkit.tasks.saliency.data.layout import Example
from cvkit.tasks.saliency.data.map_folder import MapFolder


def example(name: str) -> Example:
    return Example(key=name.removesuffix(".jpg"), split="val", image=Path(name))


def test_maps_that_cannot_be_read_are_errors_of_their_image(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 51, np.uint8)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("gone.png")
    (tmp_path / "disk").symlink_to("/not/mounted")
    folder = MapFolder(tmp_path, [example("a.jpg")])
    assert folder.read(example("a.jpg"), (4, 4)).max() == np.float32(0.2)
    for name, message in (
        ("b.jpg", "is a FIFO, not a file"),
        ("c.jpg", "is a broken link to gone.png"),
        ("d.jpg", r"no map of its stem in .* \(.*/disk cannot be searched\)"),
    ):
        with pytest.raises(DataError, match=message):
            folder.read(example(name), (4, 4))


def test_maps_in_result_folders_are_found(tmp_path: Path) -> None:
    (tmp_path / "run/.cvkit").mkdir(parents=True)
    Image.new("L", (4, 4), 9).save(tmp_path / "run/a.png")
    assert MapFolder(tmp_path, [example("a.jpg")]).find(example("a.jpg")) == tmp_path / "run/a.png"


def test_the_shortened_map_of_an_image_with_a_long_name_is_found(tmp_path: Path) -> None:
    images = [f"{'x' * 245}{end}.jpg" for end in "ab"]
    for stem in unique_stems(images):
        Image.new("L", (4, 4), 9).save(tmp_path / f"{stem}.png")
    folder = MapFolder(tmp_path, [example(name) for name in images])
    assert [folder.find(example(name)) for name in images] == [
        tmp_path / f"{stem}.png" for stem in unique_stems(images)
    ]
