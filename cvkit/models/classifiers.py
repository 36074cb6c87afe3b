"""Image classifiers of torchvision and timm: built by name, filled with their weights, ready for uint8 images."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cvkit import files
from cvkit.catalog import Preprocessing
from cvkit.errors import UsageError, WeightsError
from cvkit.models import fetch, pretrained
from cvkit.models.backbones import TIMM_PREFIX
from cvkit.models.fetch import Say
from cvkit.models.labels import load_labels
from cvkit.models.pretrained import Pretrained
from cvkit.models.weights import fill, read_tensors, without_prefixes

_NUMBER = re.compile(r"\d+")
# In the published files of torchvision's DenseNets and ViTs some layers have names of an earlier torchvision.
_OLD_NAMES = (
    (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.(?=[12]\.)"), r"\1"),
    (re.compile(r"(\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(\.mlp)\.linear_2\."), r"\1.3."),
)
SEED = 0  # of random weights, so that two runs without weights agree


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network with its weights, and where they came from: a file and its sha256, both empty for random weights.

    ``note`` says what was taken for granted, for the person who watches; it is empty where nothing was.
    """

    module: nn.Module
    facts: Pretrained
    file: str
    sha256: str
    note: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """What results depend on: the model, its weights, how they want their images, and the names of the classes."""
        return {
            "model": self.facts.model,
            "weights_sha256": self.sha256 or "random",
            "preprocessing": asdict(self.facts.preprocessing),
            "labels_sha256": _digest(self.facts.labels, self.facts.class_ids) if self.facts.labels else "none",
        }

    @property
    def details(self) -> dict[str, Any]:
        """What else a manifest tells of the weights."""
        return {"weights": self.file or "random", "tag": self.facts.tag, "classes": self.facts.num_classes}


class Classifier:
    """A classifier with its preprocessing, the names of its classes, its device and its precision.

    ``dtype`` is torch.float32, or bfloat16 or float16 for autocast. The network is in evaluation mode and its
    parameters want no gradients.
    """

    def __init__(
        self,
        module: nn.Module,
        facts: Pretrained,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device, self.dtype, self.facts = torch.device(device), dtype, facts
        self.layout = torch.channels_last if self.device.type in ("cuda", "cpu") else torch.contiguous_format
        self.module = module.eval().requires_grad_(False).to(self.device).to(memory_format=self.layout)
        way = facts.preprocessing
        mean, std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (way.mean, way.std))
        # (x / 255 - mean) / std as one multiplication and one addition.
        self._scale, self._shift = 1 / (255 * std), -mean / std

    @property
    def preprocessing(self) -> Preprocessing:
        """How the weights want their images."""
        return self.facts.preprocessing

    def normalise(self, images: Tensor) -> Tensor:
        """Return (N, 3, h, w) uint8 images as normalised float32, on the device and in its memory layout."""
        pixels = images.to(self.device, non_blocking=True).to(torch.float32)
        return torch.addcmul(self._shift, pixels, self._scale).contiguous(memory_format=self.layout)

    def logits(self, images: Tensor) -> Tensor:
        """Return the (N, classes) float32 scores before the softmax of (N, 3, h, w) uint8 images."""
        with torch.inference_mode(), self.autocast():
            return self.module(self.normalise(images)).float()

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the network computes in the classifier's precision."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def label(self, index: int) -> str:
        """Return the name of a class, or an empty text where none is known."""
        return self.facts.labels[index] if self.facts.labels else ""

    def name_class(self, index: int) -> dict[str, Any]:
        """Return a class as columns of a table: its index, and its WordNet id and label where they are known."""
        class_id = self.facts.class_ids[index] if self.facts.class_ids else ""
        return {"class_index": index, "class_id": class_id, "label": self.label(index)}


def load(name: str, weights: str = "pretrained", labels: str | None = None, say: Say = lambda _: None) -> Loaded:
    """Build the classifier ``name`` ("vgg16", "mobilenet_v2.IMAGENET1K_V2", "timm:resnet18") and fill in its weights.

    ``weights`` is "pretrained" (from the cache of torchvision or timm, else downloaded), "none" (random, the same every
    time) or a file, whose last layer tells the number of classes. ``labels`` is a file with their names. Raises
    UsageError for an unknown name or labels of another number, WeightsError where the weights cannot be had or do not
    fit, and DataError for labels that cannot be read.
    """
    pretrained.check_name(name)
    if weights == "none":
        facts = pretrained.facts(name)
        loaded = Loaded(module=_random(name, facts.num_classes), facts=facts, file="", sha256="")
    else:
        loaded = _load(name, weights, say)
    if labels is None:
        return loaded
    words, class_ids = load_labels(labels)
    count = loaded.facts.num_classes
    if len(words) != count:
        raise UsageError(f"--labels {labels} names {len(words)} classes, but the weights of {name} have {count}.")
    return replace(loaded, facts=replace(loaded.facts, labels=words, class_ids=class_ids))


def _digest(labels: Sequence[str], class_ids: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([labels, class_ids]).encode()).hexdigest()


def _load(name: str, weights: str, say: Say) -> Loaded:
    note = ""
    if weights == "pretrained":
        facts = pretrained.facts(name)
        file = fetch.download(facts, say)  # checks what is in the cache, and fetches what is not
    else:
        file = Path(weights)
        if not file.is_file():
            raise WeightsError(f"--weights {weights}: no such file.{_meant_a_tag(name, weights)}")
        facts, known = pretrained.identify(name, file)
        if not known:
            note = f"{file} is none of the published files of {name}: images are prepared as for {facts.name}."
    given = read_tensors(file)
    name = facts.name  # the file may be of another entry than the default
    classes = _classes_in(name, given, str(file), facts.num_classes)
    with _NoInit():
        module = make(name, classes)
    _fill(module, given, str(file))
    if weights != "pretrained":
        _refuse_deeper(module, given, str(file))
    if classes != facts.num_classes:
        facts = replace(facts, num_classes=classes, labels=(), class_ids=(), top1=None)
    return Loaded(module=module, facts=facts, file=str(file), sha256=files.sha256(file), note=note)


def make(name: str, num_classes: int | None = None) -> nn.Module:
    """Build a classifier of torchvision or timm with random weights; None keeps its own number of classes."""
    bare = base_name(name)
    extra: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if name.startswith(TIMM_PREFIX):
        import timm

        return timm.create_model(name.removeprefix(TIMM_PREFIX), pretrained=False, **extra)
    from torchvision import models

    if bare in ("inception_v3", "googlenet"):
        # Their trained weights want the input brought from ImageNet's normalisation to their own; the auxiliary
        # classifiers are for training only.
        extra |= {"init_weights": False, "aux_logits": False, "transform_input": True}
    elif bare.startswith("vit_"):
        # The one family that is built for an image size, which differs between the entries of its weights.
        extra["image_size"] = pretrained.facts(name).preprocessing.crop[0]
    return models.get_model(bare, weights=None, **extra)


def blueprint(name: str, num_classes: int | None = None) -> Callable[[], nn.Module]:
    """Return what builds the network anew, for dry runs on the meta device."""
    return partial(make, name, num_classes)


def base_name(name: str) -> str:
    """Return a model's name without the tag of its weights: "vgg16.IMAGENET1K_V1" is "vgg16"."""
    prefix = TIMM_PREFIX if name.startswith(TIMM_PREFIX) else ""
    return prefix + name.removeprefix(prefix).split(".")[0]


def _random(name: str, num_classes: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return make(name, num_classes)


def _classes_in(name: str, given: Mapping[str, Tensor], label: str, usual: int) -> int:
    """Return the number of classes that a file's tensors are for: the size of what depends on it in the network."""
    networks = [_without_numbers(name, count) for count in (7, 11)]
    shapes = [{key: tuple(value.shape) for key, value in network.state_dict().items()} for network in networks]
    heads = [key for key, shape in shapes[0].items() if shape != shapes[1][key]]
    for names in without_prefixes(given):
        for key in heads:
            if key in names and names[key].dim() == len(shapes[0][key]):
                return _grown(shapes[0][key], shapes[1][key], tuple(names[key].shape))
    if not heads or _converter(networks[0]) is not None:  # which may know the last layer by another name
        return usual
    raise WeightsError(
        f"{label} does not fit {name}: its last layer ({', '.join(sorted(heads)[:2])}) is not in it, so that it is no "
        "classifier of this architecture."
    )


def _without_numbers(name: str, num_classes: int) -> nn.Module:
    """Build a network for its shapes alone."""
    try:
        with torch.device("meta"):
            return make(name, num_classes)
    except RuntimeError:  # RegNet works its widths out by tensors, and older timm its drop rates
        with _NoInit():
            return make(name, num_classes)


def _grown(seven: tuple[int, ...], eleven: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Return the number of classes of a head's tensor from the side that differs between 7 and 11 classes."""
    side = next(k for k in range(len(seven)) if seven[k] != eleven[k])
    return shape[side]


def _fill(module: nn.Module, given: Mapping[str, Tensor], label: str) -> None:
    """Copy the tensors into the network, those of files of older making too."""
    try:
        fill(module, given, label)
    except WeightsError as error:
        convert = _converter(module) or _renamed
        try:
            fill(module, convert(dict(given), module), label)
        except WeightsError:
            raise
        except Exception:  # whatever a foreign converter raises on tensors that it does not know
            raise error from None


def _renamed(given: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors under the names that torchvision gives them now."""
    del module
    for old, new in _OLD_NAMES:
        given = {old.sub(new, name): value for name, value in given.items()}
    return given


def _converter(module: nn.Module) -> Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] | None:
    """Return how timm reads files of other making into this network, where it says."""
    return getattr(sys.modules.get(type(module).__module__), "checkpoint_filter_fn", None)


def _refuse_deeper(module: nn.Module, given: Mapping[str, Tensor], label: str) -> None:
    """Refuse a file with further layers of the network's own kind: ResNet-34's has all that ResNet-18 needs.

    Other tensors that are left over (auxiliary classifiers, counters) do no harm.
    """
    deeper = _further(module, given)
    if deeper:
        with suppress(Exception):  # whatever a foreign converter raises
            deeper = _further(module, (_converter(module) or _renamed)(dict(given), module))
    if deeper:
        more = f" and {len(deeper) - 1} more" if len(deeper) > 1 else ""
        raise WeightsError(f"{label} does not fit: it is of a deeper network, which also has {deeper[0]}{more}.")


def _further(module: nn.Module, given: Mapping[str, Tensor]) -> list[str]:
    """Return the names that differ by their numbers alone from those of the network, and are not among them."""
    wanted = module.state_dict().keys()
    kinds = {_NUMBER.sub("#", name) for name in wanted}
    names = max(without_prefixes(given), key=lambda names: len(wanted & names.keys()))
    return sorted(name for name in names.keys() - wanted if _NUMBER.sub("#", name) in kinds)


def _meant_a_tag(name: str, weights: str) -> str:
    tags = [entry.tag for entry in pretrained.entries(name) if entry.tag]
    if weights in tags:
        return f" An entry is named with the model: --model {base_name(name)}.{weights}."
    return " Write a file, pretrained or none."


class _NoInit(TorchFunctionMode):
    """Draw one random number for a new tensor, not all: those cost a second, which the weights then undo.

    Without that one, what lay in the memory would stay, and a loop that draws until all numbers are within bounds
    (``trunc_normal_`` of torch 2.15) would never end.
    """

    _DRAWN = ("uniform_", "normal_")
    _LEFT_OUT = ("erfinv_", "kaiming_", "xavier_", "orthogonal_")

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        name, named = getattr(func, "__name__", ""), dict(kwargs or {})
        if name in self._DRAWN:
            tensor = args[0] if args else named.pop("tensor")
            with torch.no_grad():
                return tensor.fill_(func(tensor.new_empty(1), *args[1:], **named).item())
        if name.startswith(self._LEFT_OUT):
            return args[0] if args else named["tensor"]
        return func(*args, **named)
