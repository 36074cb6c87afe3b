"""Compare an exported mobilenet_v2 in onnxruntime with eager PyTorch, for batches of one and of eight images.

Eager PyTorch runs in two memory layouts: contiguous, as the network is built, and channels last, as cvkit runs it. All
variants use the same number of threads. They run one after the other, because two open runtimes compete for the cores.
``--quantize DIR`` adds an int8 file, which is calibrated with the images of a folder.
"""

import copy
import tempfile
from collections.abc import Callable, Mapping
from functools import partial

import torch
from side_by_side import Times, faster, make_parser, publish, report

from cvkit.commands.export import export
from cvkit.config import ExportConfig
from cvkit.models.exported.network import ExportedNetwork, read_facts
from cvkit.models.exported.timing import Opener, median_call_seconds
from cvkit.tasks.classification import loading

EAGER = "eager PyTorch, channels last"


def rounds_of(variants: Mapping[str, Opener], rounds: int, seconds: float) -> Times:
    """Return the median seconds of one call per round, in alternating order."""
    times: Times = {name: [] for name in variants}
    for number in range(rounds):
        names = list(variants) if number % 2 else list(reversed(variants))
        with torch.inference_mode():
            medians = median_call_seconds({name: variants[name] for name in names}, rounds=1, seconds=seconds)
        for name, median in medians.items():
            times[name].append(median)
    return times


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--weights", default="none", help="a file, or none for random weights")
    parser.add_argument("--quantize", metavar="DIR")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds per variant and round")
    options = parser.parse_args()
    network = loading.load(options.model, options.weights).network.eval().requires_grad_(False)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    rows = []
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
            variants = {EAGER: opener(lambda: last, strided)}
            variants["eager PyTorch, as built"] = opener(lambda: network, images)
            variants |= {name: opener(partial(ExportedNetwork, path), images) for name, path in paths.items()}
            print(f"batches of {batch}, {torch.get_num_threads()} threads")
            times = rounds_of(variants, options.rounds, options.seconds)
            report(times, EAGER, batch)
            claim = f"an exported {options.model}, batches of {batch}"
            rows += [faster(times, name, EAGER, f"{claim}, {name}") for name in paths]
    publish(rows, options.json)


def opener(network: Callable[[], torch.nn.Module], images: torch.Tensor) -> Callable[[], Callable[[], object]]:
    def open_network() -> Callable[[], object]:
        ready = network()
        return lambda: ready(images)

    return open_network


if __name__ == "__main__":
    main()
