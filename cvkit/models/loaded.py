"""Models as they are loaded from a reference, and the description of each kind of model for the registry."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvkit.catalog import TargetLayer
from cvkit.config import ClassifierConfig, PreprocessingConfig
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.network import ExportedNetwork
from cvkit.models.runner import Runner
from cvkit.progress import Note, Reporter, ignore

Outputs = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class LoadedModel(ABC):
    """A network with its weights, before it is put on a device.

    Attributes:
        kind: Name of its row in the registry.
        network: The network, or an exported file.
        file: Path of the weights; empty for random weights.
        sha256: SHA-256 of that file; empty for random weights.
        note: An assumption about the weights that the user should know of; empty if there is none.
    """

    kind: str
    network: nn.Module
    file: str
    sha256: str
    note: str = ""

    @property
    def is_exported(self) -> bool:
        """True for an exported graph (.onnx, .pt2, .xml), which has no gradients and no named layers.

        False for an exported .safetensors file, from which the network is rebuilt.
        """
        return isinstance(self.network, ExportedNetwork)

    def report_note(self, report: Reporter) -> None:
        """Report the assumption about the weights, if there is one."""
        if self.note:
            report(Note(self.note, level="important"))

    @abstractmethod
    def to(self, device: torch.device, precision: str) -> Runner:
        """Put the model on a device.

        Args:
            device: Device to compute on.
            precision: auto, fp32, bf16 or fp16.
        """


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A network to export, with its metadata.

    Attributes:
        network: Network in evaluation mode on the processor, from normalised float images to one output.
        facts: Metadata of the exported file.
        cam_target: Returns the layer whose activation makes the class activation map; None if there are no classes.
    """

    network: nn.Module
    facts: Facts
    cam_target: Callable[[], TargetLayer] | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """The reference of a model, with the weights, class names and options for a model that is given by name."""

    name: str
    weights: str | None = None
    labels: str | None = None
    options: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    report: Reporter = ignore

    @classmethod
    def for_classifier(cls, config: ClassifierConfig, report: Reporter) -> "Request":
        """Return the request of a command that uses a classifier."""
        return cls(name=config.model, weights=config.weights, labels=config.labels, options=config, report=report)


@dataclass(frozen=True, kw_only=True)
class ModelKind:
    """One row of the registry: how a kind of model is loaded, rebuilt, exported and compared.

    Attributes:
        name: Name of the kind, which exported files of it carry in their metadata.
        title: Name for messages, with its article.
        output: Name of the first output of an exported file that the commands can use.
        rebuild: Builds the network that the metadata of an exported file describe, with random weights.
        from_exported: Loads an exported file, or a network rebuilt from one, with its metadata.
        export: Prepares a loaded model for export; the second argument is ``--part``.
        compare_outputs: Compares outputs for the benchmark: (expected, found, true classes or None) to scores by name.
        checkpoint: Kind of its checkpoints; empty if it has none.
        from_checkpoint: Loads the content of a checkpoint; arguments are the content, its path and its SHA-256.
        is_model_name: Returns whether a name is one of its models.
        from_name: Loads a model by name.
        postprocessing: Returns the module that ends the exported graph, and the names of its outputs, given the
            metadata and ``--top``; None if the kind has no postprocessing.
        any_size: Whether the network takes images of other sizes than its own.
    """

    name: str
    title: str
    output: str
    rebuild: Callable[[Facts], nn.Module]
    from_exported: Callable[[nn.Module, Facts, Path, str], LoadedModel]
    export: Callable[[Any, str], Exportable]
    compare_outputs: Callable[[Outputs, Outputs, Tensor | None], dict[str, float]]
    checkpoint: str = ""
    from_checkpoint: Callable[[Mapping[str, Any], Path, str], LoadedModel] | None = None
    is_model_name: Callable[[str], bool] = field(default=lambda _: False)
    from_name: Callable[[Request], LoadedModel] | None = None
    postprocessing: Callable[[Facts, int], tuple[nn.Module, list[str]]] | None = None
    any_size: bool = True
