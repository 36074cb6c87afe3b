"""Write the maps, overlays and panels of an explanation."""

import io
from pathlib import Path

import numpy as np

from cvkit import files, render
from cvkit.config import GradcamConfig
from cvkit.data.fit import Window, place_map
from cvkit.render.jpeg import encode_jpeg

SUFFIXES = {"map": ".map.png", "overlay": ".overlay.jpg", "panel": ".panel.jpg", "npy": ".npy"}


def save_pictures(
    config: GradcamConfig, base: Path, source: tuple[np.ndarray, Window], values: np.ndarray, *, caption: str
) -> dict[str, Path]:
    """Write the files that ``--save`` selects for one class of one image.

    Args:
        config: The settings.
        base: Path of the files without their suffix.
        source: (H, W, 3) uint8 image, and the position of the network's input in it.
        values: (h, w) float32 map of the input from 0 to 1.
        caption: Text below a panel.

    Returns:
        The path of each kind of file.
    """
    image, window = source
    heat = place_map(values, window, (image.shape[0], image.shape[1]))
    saved = {}
    for kind in config.save:
        path = base.with_name(f"{base.name}{SUFFIXES[kind]}")
        files.write_atomic(path, _encode(config, kind, source, heat, caption))
        saved[kind] = path
    return saved


def _encode(
    config: GradcamConfig, kind: str, source: tuple[np.ndarray, Window], heat: np.ndarray, caption: str
) -> bytes:
    image, window = source
    look = (config.colormap, config.alpha)
    if kind == "npy":
        buffer = io.BytesIO()
        np.save(buffer, heat)
        return buffer.getvalue()
    if kind == "panel":
        return encode_jpeg(render.heat_panel(image, heat, window.box, texts=(config.method, caption), style=look))
    if kind == "overlay":
        return encode_jpeg(render.heat_overlay(image, heat, window.box, colormap=look[0], alpha=look[1]))
    if config.format == "colour":
        return render.encode_png(render.colourise(heat, config.colormap))
    return render.encode_png(heat, bits=16 if config.format == "png16" else 8)
