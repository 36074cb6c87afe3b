"""Compare the time and peak memory of Grad-CAM with torchcam, pytorch-grad-cam and the bare forward pass.

Weights and images are random, which does not change the amount of work. `--device cuda` runs the comparison on a GPU.
All variants get the same float32 batch: the peers in contiguous layout, cvkit and the bare forward pass in the memory
layout that cvkit uses. Peers that are not installed are left out. The peak memory is that of a separate process that
explains one batch for one class; on a GPU, it is the peak of PyTorch's allocator.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
from gradcam_variants import FORWARD, MAKERS, grad_cam_peers
from memory import peak_resident_mib
from side_by_side import Row, faster, make_parser, publish, report, slower, time_rounds, values_row


def peak_mib(options: argparse.Namespace, variant: str) -> float:
    """Return the peak memory of a process that explains one batch for one class."""
    arguments = [sys.executable, __file__, "--model", options.model, "--device", options.device]
    arguments += ["--batch", str(options.batch), "--alone", variant]
    return float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()[-1])


def alone(options: argparse.Namespace) -> None:
    """Explain one batch for one class, and print the peak memory in MiB."""
    variants = grad_cam_peers(options.model, "none", options.batch, torch.device(options.device), (options.alone,))
    variants[options.alone](1)
    if options.device == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(peak_resident_mib())


def measure(options: argparse.Namespace) -> list[Row]:
    """Return the rows of one network."""
    variants = grad_cam_peers(options.model, "none", options.batch, torch.device(options.device))
    peers = [name for name in variants if name not in (FORWARD, "cvkit")]
    functions: dict[str, Callable[[], object]] = {FORWARD: partial(variants[FORWARD], 1)}
    labels = {1: "1 class", 3: "3 classes"}
    for variant in ("cvkit", *peers):
        for classes, label in labels.items():
            functions[f"{variant}, {label}"] = partial(variants[variant], classes)
    times = time_rounds(functions, options.rounds)
    report(times, FORWARD, options.batch)
    rows = []
    for label in labels.values():
        claim = f"Grad-CAM of a batch of {options.batch}, {options.model}, {label}"
        rows.append(slower(times, f"cvkit, {label}", FORWARD, claim))
        rows += [faster(times, f"cvkit, {label}", f"{peer}, {label}", claim) for peer in peers]
    peaks = {name: peak_mib(options, name) for name in ("cvkit", *peers)}
    claim = f"peak memory of a process, Grad-CAM of a batch of {options.batch}, {options.model}"
    rows += [
        values_row(claim, [100 * peaks["cvkit"] / peaks[peer]], "{:.0f}", " % of its memory", peer) for peer in peers
    ]
    return rows


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--alone", choices=tuple(MAKERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options)
    else:
        publish(measure(options), options.json)


if __name__ == "__main__":
    main()
