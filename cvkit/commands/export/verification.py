"""The proof that an exported file says what its network says."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cvkit.commands.export.pictures import Pictures, exact, inputs_of
from cvkit.errors import WeightsError
from cvkit.models.exported.comparison import Check, compare, sizes_to_try
from cvkit.models.exported.exported import ExportedNetwork
from cvkit.models.exported.facts import Facts
from cvkit.progress import Note, Reporter
from cvkit.tasks import registry

BATCHES = (1, 3)  # neither is that of the batch that was traced
MANY = 32  # images that a quantised file is also tried with: it errs a little on each


@dataclass(frozen=True)
class Tolerance:
    """The largest difference allowed, and the largest over the largest value; None where it does not count."""

    atol: float | None
    rtol: float | None

    def allows(self, check: Check) -> bool:
        """Tell whether a comparison is within both."""
        return (self.atol is None or check.absolute <= self.atol) and (self.rtol is None or check.relative <= self.rtol)


# By precision. Of half precision and whole numbers only the share says something: so do their steps.
TOLERANCES = {"fp32": Tolerance(1e-4, 1e-3), "fp16": Tolerance(None, 3e-2), "int8": Tolerance(None, 0.25)}


def tolerance(precision: str, atol: float | None, rtol: float | None) -> Tolerance:
    """Return what is asked for, and of what is not the tolerance of the precision."""
    usual = TOLERANCES[precision]
    return Tolerance(usual.atol if atol is None else atol, usual.rtol if rtol is None else rtol)


def verify(
    path: Path, graph: nn.Module, facts: Facts, pictures: Pictures, allowed: Tolerance, listen: Reporter
) -> list[Check]:
    """Run a file in its own runtime beside the network in float32, at each batch and size that it takes.

    Raises WeightsError where they differ by more than is allowed.
    """
    run = runner(path)
    batches = ((*BATCHES, MANY) if facts.precision == "int8" else BATCHES) if "batch" in facts.dynamic else (1,)
    checks = []
    says_something = False
    for size in sizes_to_try(facts):
        for batch in batches:
            images = pictures.batch(batch, size)
            with torch.no_grad():
                expected = graph(inputs_of(images, exact(facts)))
            says_something |= any(bool(one.any()) for one in expected)
            found = run(inputs_of(images, facts))
            checks.append(compare(expected, found, size, facts.kind == "classifier"))
    if not says_something:
        listen(Note(f"{facts.model} gives zeros for every image: that the file does so too proves little", "warning"))
    if not all(allowed.allows(check) for check in checks):
        raise WeightsError(
            f"{facts.model}: the exported file differs from the network by {max(c.absolute for c in checks):.3g}, "
            f"{max(c.relative for c in checks):.3g} of the largest value; allowed are --atol {_shown(allowed.atol)} "
            f"and --rtol {_shown(allowed.rtol)}; nothing was written."
        )
    return checks


def _shown(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


def runner(path: Path) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Return what runs an exported file: all outputs, for what the file takes."""
    if path.suffix == ".safetensors":
        network = registry.rebuilt(path)
        return lambda images: (network(images.float()).float(),)
    return ExportedNetwork(path).run
