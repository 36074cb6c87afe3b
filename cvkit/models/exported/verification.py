"""Verify an exported file against its network."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cvkit.errors import WeightsError
from cvkit.models.exported.comparison import Check, compare, sizes_to_try
from cvkit.models.exported.facts import Facts
from cvkit.models.exported.runtimes import Run
from cvkit.models.exported.samples import SampleImages, in_float32, inputs_of
from cvkit.progress import Note, Reporter

BATCH_SIZES = (1, 3)  # different from the batch size of the traced example
QUANTIZED_BATCH_SIZE = 32  # for quantised files as well, which differ a little for every image


@dataclass(frozen=True)
class Tolerance:
    """The largest differences that are allowed.

    Attributes:
        atol: Largest difference; None for any.
        rtol: Largest difference as a fraction of the largest value; None for any.
        exact: Whether ``atol`` also limits outputs whose difference is explained by the rounding of float32.
    """

    atol: float | None
    rtol: float | None
    exact: bool = False

    def allows(self, check: Check) -> bool:
        """Return whether a comparison is within both limits."""
        absolute = check.absolute if self.exact else check.unexplained
        return (self.atol is None or absolute <= self.atol) and (self.rtol is None or check.relative <= self.rtol)


# fp16 and int8 are checked by relative error only, because their rounding step scales with the value.
TOLERANCES = {"fp32": Tolerance(1e-4, 1e-3), "fp16": Tolerance(None, 3e-2), "int8": Tolerance(None, 0.25)}


def choose_tolerance(precision: str, atol: float | None, rtol: float | None) -> Tolerance:
    """Return the tolerance of a precision, with the limits that are given; a given ``atol`` has no exception."""
    default = TOLERANCES[precision]
    rtol = default.rtol if rtol is None else rtol
    return Tolerance(default.atol, rtol) if atol is None else Tolerance(atol, rtol, exact=True)


def verify(
    run: Run, graph: nn.Module, facts: Facts, samples: SampleImages, allowed: Tolerance, report: Reporter
) -> list[Check]:
    """Compare an exported file with its network in float32 at each batch and image size.

    Args:
        run: Runs the file, and returns all of its outputs.
        graph: The network with its preprocessing and postprocessing.
        facts: Metadata of the file.
        samples: Images to compare the outputs for.
        allowed: The largest differences.
        report: Receives a warning if the outputs are zeros.

    Raises:
        WeightsError: If they differ by more than is allowed.
    """
    sizes = (*BATCH_SIZES, QUANTIZED_BATCH_SIZE) if facts.precision == "int8" else BATCH_SIZES
    checks = []
    any_output = False
    for size in sizes_to_try(facts):
        for batch in sizes if "batch" in facts.dynamic else (1,):
            images = samples.batch(batch, size)
            with torch.no_grad():
                expected = graph(inputs_of(images, in_float32(facts)))
            _check_finite(expected, facts)
            any_output |= any(bool(output.any()) for output in expected)
            outputs = run(inputs_of(images, facts))
            checks.append(compare(expected, outputs, size, facts.num_classes is not None))
    if not any_output:
        report(Note(f"{facts.model} returns zeros for every image, so the verification proves little", "warning"))
    if not all(allowed.allows(check) for check in checks):
        raise WeightsError(
            f"{facts.model}: the exported file differs from the network by {max(c.absolute for c in checks):.3g}, "
            f"{max(c.relative for c in checks):.3g} of the largest value; --atol {_shown(allowed.atol)} and --rtol "
            f"{_shown(allowed.rtol)} are allowed; nothing was written."
        )
    return checks


def _check_finite(outputs: tuple[Tensor, ...], facts: Facts) -> None:
    if not all(bool(output.isfinite().all()) for output in outputs):
        raise WeightsError(
            f"{facts.model}: the network returns NaN or infinite values for the sample images, so its files cannot be "
            "verified; nothing was written."
        )


def _shown(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"
