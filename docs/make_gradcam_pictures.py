"""Make the pictures of docs/gradcam.md.

Run ``python docs/make_gradcam_pictures.py ../shared/data``. The folder contains ``photos/`` and ``weights/``
(torchvision's mobilenet_v2).
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from cvkit import render
from cvkit.commands.gradcam import gradcam
from cvkit.config import GradcamConfig
from cvkit.data.images import read_image
from cvkit.render.jpeg import encode_jpeg
from cvkit.render.sheet import contact_sheet
from cvkit.tasks.attribution import METHODS

TARGET = Path(__file__).with_name("pictures")
MODEL = "mobilenet_v2"


class Pictures:
    """Run gradcam on one photograph at a time, in a temporary folder."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder, self.count = data, folder, 0

    def explain(self, photo: str, **settings: object) -> tuple[list[dict[str, object]], Path]:
        """Return the rows of ``results.csv`` of one photograph, and the result folder."""
        self.count += 1
        out = self.folder / str(self.count)
        options: dict[str, object] = {"weights": str(self.data / f"weights/{MODEL}-torchvision.pth"), **settings}
        config = GradcamConfig(inputs=(str(self.data / "photos" / photo),), model=MODEL, out=str(out), **options)  # type: ignore[arg-type]
        return list(gradcam(config).rows()), out

    def panels(self, name: str, *runs: tuple[str, dict[str, object]]) -> None:
        """Write the panels of several runs below each other."""
        panels = []
        for photo, settings in runs:
            rows, out = self.explain(photo, save=("panel",), **settings)
            panels += [read_image(out / str(row["panel"])) for row in rows]
        width = max(panel.shape[1] for panel in panels)
        padded = [np.pad(panel, ((0, 0), (0, width - panel.shape[1]), (0, 0)), constant_values=255) for panel in panels]
        (TARGET / f"{name}.jpg").write_bytes(encode_jpeg(np.concatenate(padded), quality=85))

    def gallery(self, name: str, photo: str, columns: list[tuple[str, dict[str, object]]], **settings: object) -> None:
        """Write one row of overlays per class, with one column per title and its settings."""
        rows_of_overlays: list[list[np.ndarray]] = []
        captions: list[str] = []
        for column, (_, more) in enumerate(columns):
            rows, out = self.explain(photo, save=("overlay",), **{**settings, **more})
            for k, row in enumerate(rows):
                if column == 0:
                    rows_of_overlays.append([])
                    captions.append(f"rank {row['rank']}: {row['label']} {row['probability']:.1%}")
                rows_of_overlays[k].append(read_image(out / str(row["overlay"])))
        sheet = contact_sheet(rows_of_overlays, titles=[title for title, _ in columns], captions=captions, cell_px=200)
        (TARGET / f"{name}.jpg").write_bytes(encode_jpeg(sheet, quality=85))


def main() -> None:
    """Make all pictures."""
    data = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    render.colour_map("turbo")
    with tempfile.TemporaryDirectory() as name:
        pictures = Pictures(data, Path(name))
        pictures.panels("gradcam-both", ("both.png", {"rank": (1, 3)}))
        pictures.panels("gradcam-dog-cat", ("dog_cat.jfif", {"rank": (1, 14)}))
        pictures.panels("gradcam-fit", *(("dog_cat.jfif", {"rank": (1,), "fit": fit}) for fit in ("crop", "squash")))
        methods = [(method, {"method": method}) for method in METHODS]
        pictures.gallery("gradcam-methods-1", "both.png", methods[:5], rank=(1, 3))
        pictures.gallery("gradcam-methods-2", "both.png", methods[5:], rank=(1, 3))
        layers = [(layer, {"layer": layer}) for layer in ("features.3", "features.6", "features.13", "features.18")]
        pictures.gallery("gradcam-layers", "both.png", layers, rank=(1,), method="layercam")
        trust = [("trained", {}), ("random weights", {"weights": "none"})]
        pictures.gallery("gradcam-random", "both.png", trust, classes=("243",))
        pictures.panels("gradcam-unlikely", ("dog_cat.jfif", {"classes": ("tabby",), "fit": "squash"}))
        signs = [("gradcam", {}), ("eigencam", {"method": "eigencam"})]
        pictures.gallery("gradcam-eigencam", "dog.jpg", signs, rank=(1,))


if __name__ == "__main__":
    main()
