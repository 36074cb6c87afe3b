"""Write the codes of an embedding as tables, as arrays, and for TensorBoard's projector."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvkit import files
from cvkit.engine.parquet import write_parquet

ABOUT = ("image", "split", "label", "class_name")
# What an embedding may leave in its folder, by what is asked for.
FILES = (
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
    """Codes (N, d) float32 of N images, and of each its name, split, label and class (None where unknown)."""

    codes: NDArray[np.float32]
    names: Sequence[str]
    splits: Sequence[str]
    labels: Sequence[int | None]
    classes: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.codes)

    def columns(self) -> list[str]:
        """Return the columns of a table of it."""
        return [*ABOUT, *(f"z{number}" for number in range(self.codes.shape[1]))]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row an image; codes stay float32, so that they are written with the digits they have."""
        columns = self.columns()
        about = zip(self.names, self.splits, self.labels, self.classes, strict=True)
        for facts, code in zip(about, self.codes, strict=True):
            yield dict(zip(columns, (*facts, *code), strict=True))


def write_csv(folder: Path, embedding: Embedding) -> list[Path]:
    """Write ``embeddings.csv``."""
    path = folder / "embeddings.csv"
    files.write_csv(path, embedding.columns(), embedding.rows())
    return [path]


def write_table(folder: Path, embedding: Embedding) -> list[Path]:
    """Write ``embeddings.parquet``."""
    kinds = dict(zip(ABOUT, ("string", "string", "int32", "string"), strict=True))
    path = folder / "embeddings.parquet"
    write_parquet(path, {name: kinds.get(name, "float32") for name in embedding.columns()}, embedding.rows())
    return [path]


def write_array(folder: Path, embedding: Embedding) -> list[Path]:
    """Write ``embeddings.npy`` (N, d) float32, and ``embeddings-index.csv`` that says whose its rows are."""
    buffer = io.BytesIO()
    np.save(buffer, embedding.codes)
    array, index = folder / "embeddings.npy", folder / "embeddings-index.csv"
    files.write_atomic(array, buffer.getvalue())
    files.write_csv(index, ABOUT, embedding.rows())
    return [array, index]


def write_projector(folder: Path, embedding: Embedding, sprite: bytes, image: tuple[int, int], name: str) -> list[Path]:
    """Write a log folder ``projector`` for TensorBoard; ``sprite`` is a PNG file of pictures of ``image`` (H, W)."""
    place = folder / "projector"
    codes = embedding.codes
    files.write_atomic(place / "tensors.tsv", "".join("\t".join(map(str, code)) + "\n" for code in codes))
    lines = ["\t".join(ABOUT), *("\t".join(_word(row[name]) for name in ABOUT) for row in embedding.rows())]
    files.write_atomic(place / "metadata.tsv", "\n".join(lines) + "\n")
    files.write_atomic(place / "sprite.png", sprite)
    config = PROJECTOR.format(name=_word(name).replace("\\", "").replace('"', ""), width=image[1], height=image[0])
    files.write_atomic(place / "projector_config.pbtxt", config)
    return [place / part for part in ("tensors.tsv", "metadata.tsv", "sprite.png", "projector_config.pbtxt")]


def _word(value: Any) -> str:
    """Return a value as one cell of a table whose columns are told apart by tabs."""
    return "" if value is None else " ".join(str(value).split())
