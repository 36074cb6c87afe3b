"""Metadata of exported files."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from cvkit.catalog import Preprocessing
from cvkit.config.export import DYNAMIC, EXPORT_PRECISIONS, QUANTIZED
from cvkit.errors import WeightsError
from cvkit.models.plain import have_types, is_input_size, is_normalisation, is_of_type, read_preprocessing

KEY = "cvkit"  # of the metadata in the file
INPUTS = (("float", "nchw"), ("uint8", "nchw"), ("uint8", "nhwc"))
PRECISIONS = (*EXPORT_PRECISIONS, *QUANTIZED)
MAX_CLASSES = 100_000
UNREADABLE = "its metadata cannot be read; it may have been written by another version of cvkit."


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Metadata of an exported file.

    Attributes:
        kind: Name of the kind of model in the registry.
        model: Name of the model.
        spec: Plain values that rebuild the network.
        channels: Number of channels of its input.
        size: (height, width) of its input in pixels.
        mean: Mean of the normalisation per channel, for values from 0 to 1.
        std: Standard deviation of the normalisation per channel.
        outputs: Names of the outputs.
        input: "float" for normalised (N, C, H, W) images, "uint8" for bytes.
        layout: nchw or nhwc.
        dynamic: Dimensions of variable size: batch, height, width.
        precision: fp32, fp16 or int8.
        preprocessing: Preprocessing of a classifier; None for networks whose images are resized to ``size``.
        labels: Labels of the classes.
        class_ids: WordNet ids of the classes.
        licence: Licence of the weights.
        weights_sha256: SHA-256 of the file with the weights; empty for random weights.
        tensors_sha256: SHA-256 of the tensors in the exported file; empty if its format has checksums (pt2), or an
            earlier version of cvkit wrote it.
        config: Settings of the run that trained the network.
        versions: Versions of cvkit and torch that wrote the file.
    """

    kind: str
    model: str
    spec: dict[str, Any]
    channels: int
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    outputs: tuple[str, ...]
    input: str = "float"
    layout: str = "nchw"
    dynamic: tuple[str, ...] = ("batch",)
    precision: str = "fp32"
    preprocessing: dict[str, Any] | None = None
    labels: tuple[str, ...] = ()
    class_ids: tuple[str, ...] = ()
    licence: str | None = None
    weights_sha256: str = ""
    tensors_sha256: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def num_classes(self) -> int | None:
        """The number of classes; None if the network is no classifier."""
        return self.spec.get("classes")

    @property
    def classifier_preprocessing(self) -> Preprocessing | None:
        """The preprocessing of a classifier; None for networks whose images are resized to ``size``."""
        return None if self.preprocessing is None else read_preprocessing(self.preprocessing)

    def as_json(self) -> str:
        """Return the metadata as a JSON document in ASCII, because OpenVINO's XML forbids some characters."""
        return json.dumps(asdict(self), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str, source: str) -> "Facts":
        """Read metadata that ``as_json`` wrote.

        Args:
            text: The JSON document.
            source: Name of the file, for messages.

        Raises:
            WeightsError: If the document is damaged.
        """
        try:
            values = json.loads(text)
            names = {part.name for part in fields(cls)}
            lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
            facts = cls(**{name: value for name, value in (values | lists).items() if name in names})
            consistent = facts.is_consistent()
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
            raise WeightsError(f"{source}: {UNREADABLE}") from error
        if not consistent:
            raise WeightsError(f"{source}: {UNREADABLE}")
        return facts

    def is_consistent(self) -> bool:
        """Return whether the values have their types and fit together; may raise the errors of reading wrong types."""
        steps = self.preprocessing
        consistent = (
            have_types(asdict(self), Facts)
            and is_input_size(self.size)
            and is_normalisation(self.mean, self.std, self.channels)
            and len(self.outputs) > 0
            and (self.input, self.layout) in INPUTS
            and self.precision in PRECISIONS
            and set(self.dynamic) <= set(DYNAMIC)
            and (steps is None or read_preprocessing(steps) is not None)
        )
        if not consistent:
            return False
        if self.preprocessing is None and "classes" not in self.spec:
            return True
        classes = self.spec["classes"]
        named = all(len(names) in (0, classes) for names in (self.labels, self.class_ids))
        known = is_of_type(classes, int) and 0 < classes <= MAX_CLASSES
        return known and named and steps is not None and tuple(steps["crop"]) == self.size
