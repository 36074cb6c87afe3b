from pathlib import Path

import numpy as np

from cvkit.data.images import read_image
from cvkit.render.jpeg import encode_jpeg


def test_a_picture_becomes_a_jpeg(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(encode_jpeg(np.full((8, 8, 3), 90, np.uint8)))
    assert read_image(tmp_path / "x.jpg")[4, 4].tolist() == [90, 90, 90]
