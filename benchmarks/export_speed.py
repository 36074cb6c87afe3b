"""An exported mobilenet_v2 in onnxruntime against eager PyTorch, one image at a time, and eight: ratios of medians.

Eager PyTorch in both layouts of memory: as the network is built, and channels last, as cvkit runs it. All have the same
number of threads. ``--quantize DIR`` adds the int8 file, its ranges taken from the images of a folder.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable

import torch
from side_by_side import report, seconds

from cvkit.config import ExportConfig
from cvkit.models import classifiers
from cvkit.models.exported import ExportedNetwork
from cvkit.tasks.export import export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--weights", default="none", help="a file, or none for random weights")
    parser.add_argument("--quantize", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    network = classifiers.load(options.model, options.weights).module.eval().requires_grad_(False)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        words = {"model": options.model, "weights": options.weights}
        asked = {"onnxruntime": ExportConfig(**words, out=f"{folder}/model.onnx")}
        if options.quantize:
            more = {"quantize": "int8", "calibrate": options.quantize}
            asked["onnxruntime, int8"] = ExportConfig(**words, **more, out=f"{folder}/int8.onnx")
        files = {name: ExportedNetwork(export(config).path) for name, config in asked.items()}
    size = next(iter(files.values())).facts.size
    for batch in (1, 8):
        images = torch.randn(batch, 3, *size)
        strided = images.contiguous(memory_format=torch.channels_last)

        def way(run: Callable[[torch.Tensor], object], given: torch.Tensor) -> Callable[[], object]:
            return lambda: run(given)

        ways = {"eager PyTorch, channels last": way(last, strided), "eager PyTorch, as built": way(network, images)}
        ways |= {name: way(file, images) for name, file in files.items()}
        print(f"batches of {batch}, {torch.get_num_threads()} threads")
        with torch.inference_mode():
            report(seconds(ways, options.rounds), "eager PyTorch, channels last", batch)


if __name__ == "__main__":
    main()
