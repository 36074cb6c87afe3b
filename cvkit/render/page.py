"""One self-contained web page of an embedding, on which hovering a point shows its image."""

import base64
import html
import io
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvkit.render.plane import Plane, class_colours, view
from cvkit.render.sprite import sprite

ON_SHEET, COLUMNS = 1024, 32  # images on a sheet, which a browser decodes when one of them is asked for
JPEG_BLOCK = 8  # cells are a multiple of it, so that no image shines into the next


def page(
    panels: Sequence[Plane],
    *,
    title: str,
    images: NDArray[np.uint8],
    names: Sequence[str],
    splits: Sequence[str],
    labels: NDArray[np.int64] | None = None,
    classes: Sequence[str] = (),
) -> str:
    """Return an HTML page with the panels to switch between, zoom into and hover over.

    ``images`` (N, H, W, C) small pictures of the N points, ``names`` and ``splits`` what each is called and where it
    comes from, ``labels`` (N,) its class (negative: none). The page needs no network and no other file.
    """
    known = list(dict.fromkeys(splits))
    document: dict[str, Any] = {
        "classes": list(classes) if labels is not None else [],
        "colours": class_colours(len(classes)) if labels is not None else [],
        "labels": None if labels is None else _base64(labels.astype("<i4")),
        "names": list(names),
        "splits": known,
        "split_of": _base64(np.array([known.index(split) for split in splits], np.uint8)),
        "spaces": [_space(panel) for panel in panels],
        "thumbs": _thumbs(images),
    }
    # "</script>" in a file name must not end the data.
    data = json.dumps(document, ensure_ascii=False).replace("<", "\\u003c")
    template = resources.files("cvkit.render").joinpath("page.html").read_text(encoding="utf-8")
    head, rest = template.split("__DATA__")
    return head.replace("__TITLE__", html.escape(title)) + data + rest


def _space(panel: Plane) -> dict[str, Any]:
    (left, right), (bottom, top) = view(panel.points[:, 0]), view(panel.points[:, 1])
    edges = {"left": left, "right": right, "bottom": bottom, "top": top}
    return {"name": panel.name, "about": panel.about, "points": _base64(panel.points.astype("<f4")), "view": edges}


def _thumbs(images: NDArray[np.uint8]) -> dict[str, Any]:
    from PIL import Image

    _, height, width, channels = images.shape
    down, right = -height % JPEG_BLOCK, -width % JPEG_BLOCK
    sheets = []
    for begin in range(0, len(images), ON_SHEET):
        cells = np.pad(images[begin : begin + ON_SHEET], ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")
        whole = sprite(cells, COLUMNS)
        buffer = io.BytesIO()
        picture = Image.fromarray(whole[..., 0] if channels == 1 else whole)
        picture.save(buffer, format="JPEG", quality=85, **({} if channels == 1 else {"subsampling": 0}))
        sheets.append(base64.b64encode(buffer.getvalue()).decode("ascii"))
    size = {"width": width, "height": height, "cell": [width + right, height + down]}
    return {**size, "columns": COLUMNS, "on_sheet": ON_SHEET, "sheets": sheets}


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
