"""What an exported file says of itself."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from cvkit.catalog import Preprocessing
from cvkit.config.export import DYNAMIC, EXPORT_PRECISIONS, QUANTIZED
from cvkit.errors import WeightsError

KEY = "cvkit"  # of the metadata in the file
KINDS = ("classifier", "saliency", "encoder", "autoencoder")
WAYS_IN = (("float", "nchw"), ("uint8", "nchw"), ("uint8", "nhwc"))
PRECISIONS = (*EXPORT_PRECISIONS, *QUANTIZED)
UNREADABLE = "what it says of itself cannot be read; was it made by another cvkit?"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What an exported file says of itself.

    ``kind`` is one of KINDS; ``spec`` what rebuilds the network. Images are (N, C, H, W) float, normalised by ``mean``
    and ``std`` of values in 0..1, or with ``input`` "uint8" bytes in ``layout`` nchw or nhwc; ``size`` is (height,
    width). ``outputs`` names the outputs, ``dynamic`` the dimensions that may vary, ``precision`` is fp32, fp16
    or int8.
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
    config: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def way(self) -> Preprocessing | None:
        """How a classifier wants its images; None for a network that takes them brought to its size."""
        if self.preprocessing is None:
            return None
        given = self.preprocessing.items()
        way: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given}
        return Preprocessing(**way)

    def as_json(self) -> str:
        """Return the facts as a JSON document."""
        return json.dumps(asdict(self), ensure_ascii=True)  # ASCII: OpenVINO's XML forbids some characters

    @classmethod
    def from_json(cls, text: str, where: str) -> "Facts":
        """Read facts as ``as_json`` wrote them; raises WeightsError for anything else."""
        try:
            values = json.loads(text)
            known = {part.name for part in fields(cls)}
            lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
            facts = cls(**{name: value for name, value in (values | lists).items() if name in known})
            kinds = facts.kind in KINDS
            sound = facts.is_sound()
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise WeightsError(f"{where}: {UNREADABLE}") from error
        if not kinds:
            raise WeightsError(f"{where}: a model of kind {facts.kind!r}, which this cvkit does not know.")
        if not sound:
            raise WeightsError(f"{where}: {UNREADABLE}")
        return facts

    def is_sound(self) -> bool:
        """Tell whether the parts are of their kinds and go together; raises what reading a wrong one raises."""
        texts = (self.model, *self.outputs, *self.labels, *self.class_ids)
        sizes = (*self.size, self.channels)
        numbers = (*self.mean, *self.std)
        sound = (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(size, int) and size > 0 for size in sizes)
            and len(self.size) == 2
            and all(isinstance(number, int | float) for number in numbers)
            and len(self.mean) == len(self.std) == self.channels
            and len(self.outputs) > 0
            and (self.input, self.layout) in WAYS_IN
            and self.precision in PRECISIONS
            and set(self.dynamic) <= set(DYNAMIC)
            and isinstance(self.spec, dict)
        )
        if self.kind != "classifier" or not sound:
            return sound
        classes, way = self.spec["classes"], self.way
        named = all(len(names) in (0, classes) for names in (self.labels, self.class_ids))
        return isinstance(classes, int) and named and way is not None and tuple(way.crop) == self.size
