"""A self-contained HTML page of an embedding that shows the image of a point on hover."""

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvkit.render.plane import Plane, class_colours, visible_range
from cvkit.render.sprite import sprite

IMAGES_PER_SHEET, COLUMNS = 1024, 32  # the browser decodes a sheet when it shows the first of its images
JPEG_BLOCK = 8  # the sides of cells are a multiple of it, so that compression does not mix neighbouring images


@dataclass(frozen=True, kw_only=True)
class PagePoints:
    """The N points of a page.

    Attributes:
        images: (N, H, W, C) uint8, C 1 or 3, the images to show on hover.
        names: Names of the images.
        splits: Split of each image.
        labels: (N,) int64, indices into ``classes``, negative for a point without a class; or None.
        classes: Names of the classes.
    """

    images: NDArray[np.uint8]
    names: Sequence[str]
    splits: Sequence[str]
    labels: NDArray[np.int64] | None = None
    classes: Sequence[str] = ()


def embedding_page(panels: Sequence[Plane], points: PagePoints, *, title: str) -> str:
    """Return an HTML page with one panel at a time, which can be zoomed, moved and hovered over.

    The page contains all of its data, and needs no network and no other file.

    Args:
        panels: The embeddings of the N points to choose from.
        points: Images, names, splits and classes of the points.
        title: Heading of the page.
    """
    splits = list(dict.fromkeys(points.splits))
    labels, classes = points.labels, points.classes
    document: dict[str, Any] = {
        "classes": list(classes) if labels is not None else [],
        "colours": class_colours(len(classes)) if labels is not None else [],
        "labels": None if labels is None else _base64(labels.astype("<i4")),
        "names": list(points.names),
        "splits": splits,
        "split_of": _base64(np.array([splits.index(split) for split in points.splits], np.uint8)),
        "spaces": [_space(panel) for panel in panels],
        "thumbs": _thumbnails(points.images),
    }
    # "</script>" in a file name must not end the data.
    data = json.dumps(document, ensure_ascii=False).replace("<", "\\u003c")
    template = resources.files("cvkit.render").joinpath("page.html").read_text(encoding="utf-8")
    head, rest = template.split("__DATA__")
    return head.replace("__TITLE__", html.escape(title)) + data + rest


def _space(panel: Plane) -> dict[str, Any]:
    (left, right), (bottom, top) = visible_range(panel.points[:, 0]), visible_range(panel.points[:, 1])
    edges = {"left": left, "right": right, "bottom": bottom, "top": top}
    return {"name": panel.name, "about": panel.about, "points": _base64(panel.points.astype("<f4")), "view": edges}


def _thumbnails(images: NDArray[np.uint8]) -> dict[str, Any]:
    from PIL import Image

    _, height, width, channels = images.shape
    down, right = -height % JPEG_BLOCK, -width % JPEG_BLOCK
    sheets = []
    for begin in range(0, len(images), IMAGES_PER_SHEET):
        cells = np.pad(images[begin : begin + IMAGES_PER_SHEET], ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")
        whole = sprite(cells, COLUMNS)
        buffer = io.BytesIO()
        picture = Image.fromarray(whole[..., 0] if channels == 1 else whole)
        picture.save(buffer, format="JPEG", quality=85, **({} if channels == 1 else {"subsampling": 0}))
        sheets.append(base64.b64encode(buffer.getvalue()).decode("ascii"))
    size = {"width": width, "height": height, "cell": [width + right, height + down]}
    return {**size, "columns": COLUMNS, "on_sheet": IMAGES_PER_SHEET, "sheets": sheets}


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
