"""An exported mobilenet_v2 in onnxruntime against eager PyTorch, one image at a time, and eight: ratios of medians.

Eager PyTorch in both layouts of memory: as the network is built, and channels last, as cvkit runs it. All have the same
number of threads, and each runs by itself, in blocks: two runtimes open at once take each other's cores.
``--quantize DIR`` adds the int8 file, its ranges taken from the images of a folder.
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
from cvkit.models.exported.timing import in_blocks
from cvkit.tasks.classification import loading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--weights", default="none", help="a file, or none for random weights")
    parser.add_argument("--quantize", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each block")
    options = parser.parse_args()
    network = loading.load(options.model, options.weights).network.eval().requires_grad_(False)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        words = {"model": options.model, "weights": options.weights}
        asked = {"onnxruntime": ExportConfig(**words, out=f"{folder}/model.onnx")}
        if options.quantize:
            more = {"quantize": "int8", "calibrate": options.quantize}
            asked["onnxruntime, int8"] = ExportConfig(**words, **more, out=f"{folder}/int8.onnx")
        paths = {name: export(config).path for name, config in asked.items()}
        size = read_facts(next(iter(paths.values()))).size
        for batch in (1, 8):
            images = torch.randn(batch, 3, *size)
            strided = images.contiguous(memory_format=torch.channels_last)
            ways = {"eager PyTorch, channels last": opener(lambda: last, strided)}
            ways["eager PyTorch, as built"] = opener(lambda: network, images)
            ways |= {name: opener(partial(ExportedNetwork, path), images) for name, path in paths.items()}
            print(f"batches of {batch}, {torch.get_num_threads()} threads")
            with torch.inference_mode():
                medians = in_blocks(ways, rounds=options.rounds, seconds=options.seconds)
            report(medians, "eager PyTorch, channels last", batch)


def opener(network: Callable[[], torch.nn.Module], images: torch.Tensor) -> Callable[[], Callable[[], object]]:
    def opened() -> Callable[[], object]:
        ready = network()
        return lambda: ready(images)

    return opened


if __name__ == "__main__":
    main()
