"""Test the tables of codes and their folder."""

import csv
from pathlib import Path

import numpy as np
import pytest

from cvkit.tasks.embedding import tables
from cvkit.tasks.embedding.tables import Embedding

CODES = np.array([[1.1, -2.5e-8], [3, 1 / 3]], np.float32)
TWO = Embedding(
    codes=CODES, names=["a\tb.png", "7"], splits=["train", "test"], labels=[3, None], classes=["T-shirt/top", None]
)


def test_csv_keeps_the_precision_of_float32(tmp_path: Path) -> None:
    assert tables.write_csv(tmp_path, TWO) == [tmp_path / "embeddings.csv"]
    with (tmp_path / "embeddings.csv").open(newline="") as stream:
        head, *rows = csv.reader(stream)
    assert head == ["image", "split", "label", "class_name", "z0", "z1"]
    assert rows[0][:4] == ["a\tb.png", "train", "3", "T-shirt/top"] and rows[1][:4] == ["7", "test", "", ""]
    assert np.array_equal(np.array([row[4:] for row in rows], np.float32), CODES)
    assert rows[0][4] == "1.1"


def test_an_array_is_written_with_an_index(tmp_path: Path) -> None:
    array, index = tables.write_array(tmp_path, TWO)
    assert np.array_equal(np.load(array), CODES)
    assert index.read_text().splitlines() == [
        "image,split,label,class_name",
        "a\tb.png,train,3,T-shirt/top",
        "7,test,,",
    ]


def test_parquet_columns_have_their_types(tmp_path: Path) -> None:
    from pyarrow import parquet

    (path,) = tables.write_table(tmp_path, TWO)
    table = parquet.read_table(path)
    assert [str(kind) for kind in table.schema.types] == ["string", "string", "int32", "string", "float", "float"]
    assert table.column("label").to_pylist() == [3, None]
    assert np.array_equal(np.column_stack([table.column("z0"), table.column("z1")]), CODES)


def test_projector_files_are_consistent(tmp_path: Path) -> None:
    tables.write_projector(tmp_path, TWO, b"png", (28, 20), 'a "name"')
    folder = tmp_path / "projector"
    assert np.array_equal(np.loadtxt(folder / "tensors.tsv", dtype=np.float32), CODES)
    lines = (folder / "metadata.tsv").read_text().splitlines()
    assert lines == ["image\tsplit\tlabel\tclass_name", "a b.png\ttrain\t3\tT-shirt/top", "7\ttest\t\t"]
    config = (folder / "projector_config.pbtxt").read_text()
    assert 'tensor_name: "a name"' in config
    assert config.index("single_image_dim: 20") < config.index("single_image_dim: 28")


def test_tensorboard_reads_the_projector_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    text_format = pytest.importorskip("google.protobuf.text_format")
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    tables.write_projector(tmp_path, TWO, b"png", (28, 20), "name")
    config = text_format.Parse((tmp_path / "projector/projector_config.pbtxt").read_text(), ProjectorConfig())
    (found,) = config.embeddings
    assert (tmp_path / "projector" / found.tensor_path).is_file()
    assert list(found.sprite.single_image_dim) == [20, 28]
