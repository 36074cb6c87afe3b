"""Compare an exported mobilenet_v2 in onnxruntime with eager PyTorch, for batches of one and of eight images.

Eager PyTorch runs in two memory layouts: contiguous, as the network is built, and channels last, as cvkit runs it. All
variants use the same number of threads. They run one after the other, because two open runtimes compete for the cores.
``--quantize DIR`` adds an int8 file, which is calibrated with the images of a folder.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from functools import partial

import torch
from side_by_side import report

from cvkit.commands.export import export
from cvkit.config import ExportConfig
from cvkit.models.exported.network import ExportedNetwork, read_facts
from cvkit.models.exported.timing import median_call_seconds
from cvkit.tasks.classification import loading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--weights", default="none", help="a file, or none for random weights")
    parser.add_argument("--quantize", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds per variant and round")
    options = parser.parse_args()
    network = loading.load(options.model, options.weights).network.eval().requires_grad_(False)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        common = {"model": options.model, "weights": options.weights}
        configs = {"onnxruntime": ExportConfig(**common, out=f"{folder}/model.onnx")}
        if options.quantize:
            quantization = {"quantize": "int8", "calibrate": options.quantize}
            configs["onnxruntime, int8"] = ExportConfig(**common, **quantization, out=f"{folder}/int8.onnx")
        paths = {name: export(config).path for name, config in configs.items()}
        size = read_facts(next(iter(paths.values()))).size
        for batch in (1, 8):
            images = torch.randn(batch, 3, *size)
            strided = images.contiguous(memory_format=torch.channels_last)
            variants = {"eager PyTorch, channels last": opener(lambda: last, strided)}
            variants["eager PyTorch, as built"] = opener(lambda: network, images)
            variants |= {name: opener(partial(ExportedNetwork, path), images) for name, path in paths.items()}
            print(f"batches of {batch}, {torch.get_num_threads()} threads")
            with torch.inference_mode():
                medians = median_call_seconds(variants, rounds=options.rounds, seconds=options.seconds)
            report(medians, "eager PyTorch, channels last", batch)


def opener(network: Callable[[], torch.nn.Module], images: torch.Tensor) -> Callable[[], Callable[[], object]]:
    def open_network() -> Callable[[], object]:
        ready = network()
        return lambda: ready(images)

    return open_network


if __name__ == "__main__":
    main()
