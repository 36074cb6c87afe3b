"""Make docs/pictures/photographs.jpg: photographs of scikit-image, their predicted maps, and overlays.

Run ``python docs/make_pictures.py --model RUN``.
"""

import argparse
import tempfile
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import skimage

from cvkit import render
from cvkit.commands.predict import predict
from cvkit.config import PredictConfig
from cvkit.data.images import read_image, read_map
from cvkit.render.jpeg import encode_jpeg

PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "motorcycle": "motorcycle_left.png",
}
TARGET = Path(__file__).with_name("pictures") / "photographs.jpg"


def main() -> None:
    """Predict the photographs and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="run folder of train-saliency")
    options = parser.parse_args()
    source = Path(skimage.__file__).with_name("data")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for title, file in PHOTOGRAPHS.items():
            imageio.imwrite(folder / "in" / f"{title}.png", imageio.imread(source / file))
        config = PredictConfig(inputs=(str(folder / "in"),), model=options.model, out=str(folder / "out"), overlay=True)
        predict(config)
        columns: list[list[np.ndarray]] = []
        for title in PHOTOGRAPHS:
            photograph = read_image(folder / "in" / f"{title}.png")
            predicted = render.colourise(read_map(folder / "out" / f"{title}.png"))
            overlay = read_image(folder / "out" / f"{title}.overlay.jpg")
            columns.append([photograph, predicted, overlay])
    rows = [list(row) for row in zip(*columns, strict=True)]
    sheet = render.contact_sheet(
        rows, titles=list(PHOTOGRAPHS), captions=["photograph", "predicted map", "overlay"], cell_px=220
    )
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(encode_jpeg(sheet, quality=88))


if __name__ == "__main__":
    main()
