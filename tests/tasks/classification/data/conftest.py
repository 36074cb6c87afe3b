"""Provide readers of small labelled images."""

from collections.abc import Callable

import numpy as np
import pytest

from cvkit.catalog import Preprocessing
from cvkit.tasks.classification.data.reading import ImageReader
from cvkit.tasks.classification.data.source import LabelledImages, read_source
from tests.labelled import write_classes

MakeReader = Callable[..., ImageReader]
STEPS = Preprocessing(resize=20, crop=(16, 16))


@pytest.fixture(scope="session")
def image_files(tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    """Seven, three and two images of three classes, in JPEG files of 48x60 pixels."""
    folder = tmp_path_factory.mktemp("classes")
    write_classes(folder, {"a": 7, "b": 3, "c": 2}, size=(48, 60), suffix=".jpg")
    return read_source(str(folder)).splits["train"]


@pytest.fixture
def make_reader(image_files: LabelledImages) -> MakeReader:
    """Return a function that makes a reader of the JPEG files, or of an array."""

    def make(array: np.ndarray | None = None, labels: np.ndarray | None = None, **options: object) -> ImageReader:
        images = image_files
        if array is not None:
            labels = np.arange(len(array)) % 3 if labels is None else labels
            images = LabelledImages(labels=labels, names=[str(k) for k in range(len(array))], array=array)
        return ImageReader(**{"images": images, "preprocessing": STEPS, "max_pixels": 10**6, **options})  # type: ignore[arg-type]

    return make
