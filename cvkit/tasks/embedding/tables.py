"""Write the codes of an embedding as a table, as an array, and for the projector of TensorBoard."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvkit import files
from cvkit.engine.parquet import write_parquet

INFO_COLUMNS = ("image", "split", "label", "class_name")
# Files that an embedding may write, depending on the formats.
OUTPUT_FILES = (
    "embeddings.csv",
    "embeddings.parquet",
    "embeddings.npy",
    "embeddings-index.csv",
    "embedding.html",
    *(f"projector/{part}" for part in ("tensors.tsv", "metadata.tsv", "sprite.png", "projector_config.pbtxt")),
)
PROJECTOR = """embeddings {{
  tensor_name: "{name}"
  tensor_path: "tensors.tsv"
  metadata_path: "metadata.tsv"
  sprite {{
    image_path: "sprite.png"
    single_image_dim: {width}
    single_image_dim: {height}
  }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """The codes of N images with the facts of each image.

    Attributes:
        codes: (N, d) float32.
        names: Name of each image.
        splits: Split of each image: train, val or test.
        labels: Class index of each image, None if unknown.
        classes: Class name of each image, None if unknown.
    """

    codes: NDArray[np.float32]
    names: Sequence[str]
    splits: Sequence[str]
    labels: Sequence[int | None]
    classes: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.codes)

    def columns(self) -> list[str]:
        """Return the column names: those of the image, then z0, z1, ... of the code."""
        return [*INFO_COLUMNS, *(f"z{number}" for number in range(self.codes.shape[1]))]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield one row per image; codes stay float32, so that they are written with the digits of float32."""
        columns = self.columns()
        facts = zip(self.names, self.splits, self.labels, self.classes, strict=True)
        for image, code in zip(facts, self.codes, strict=True):
            yield dict(zip(columns, (*image, *code), strict=True))


def write_csv(folder: Path, embedding: Embedding) -> list[Path]:
    """Write ``embeddings.csv`` into a folder; return its path in a list."""
    path = folder / "embeddings.csv"
    files.write_csv(path, embedding.columns(), embedding.rows())
    return [path]


def write_table(folder: Path, embedding: Embedding) -> list[Path]:
    """Write ``embeddings.parquet`` into a folder; return its path in a list."""
    types = dict(zip(INFO_COLUMNS, ("string", "string", "int32", "string"), strict=True))
    path = folder / "embeddings.parquet"
    write_parquet(path, {name: types.get(name, "float32") for name in embedding.columns()}, embedding.rows())
    return [path]


def write_array(folder: Path, embedding: Embedding) -> list[Path]:
    """Write ``embeddings.npy``, (N, d) float32, and ``embeddings-index.csv`` with the image of each row."""
    buffer = io.BytesIO()
    np.save(buffer, embedding.codes)
    array, index = folder / "embeddings.npy", folder / "embeddings-index.csv"
    files.write_atomic(array, buffer.getvalue())
    files.write_csv(index, INFO_COLUMNS, embedding.rows())
    return [array, index]


def write_projector(
    folder: Path, embedding: Embedding, sprite: bytes, image_size: tuple[int, int], name: str
) -> list[Path]:
    """Write the log folder ``projector`` for TensorBoard.

    Args:
        folder: Folder that contains the log folder.
        embedding: Codes and facts of the images.
        sprite: Content of a PNG file with all images in a square grid, in the order of the codes.
        image_size: (height, width) of an image in the sprite, in pixels.
        name: Title of the embedding.

    Returns:
        The paths of the files.
    """
    target = folder / "projector"
    codes = embedding.codes
    files.write_atomic(target / "tensors.tsv", "".join("\t".join(map(str, code)) + "\n" for code in codes))
    lines = [
        "\t".join(INFO_COLUMNS),
        *("\t".join(_cell(row[name]) for name in INFO_COLUMNS) for row in embedding.rows()),
    ]
    files.write_atomic(target / "metadata.tsv", "\n".join(lines) + "\n")
    files.write_atomic(target / "sprite.png", sprite)
    config = PROJECTOR.format(
        name=_cell(name).replace("\\", "").replace('"', ""), width=image_size[1], height=image_size[0]
    )
    files.write_atomic(target / "projector_config.pbtxt", config)
    return [target / part for part in ("tensors.tsv", "metadata.tsv", "sprite.png", "projector_config.pbtxt")]


def _cell(value: Any) -> str:
    """Return a value as a cell of a table with tabs as separators."""
    return "" if value is None else " ".join(str(value).split())
