"""Compare the peak resident memory of `predict` for few and for many images.

Each run is a process of its own. The inputs are symbolic links to the same photographs, repeated as often as needed.
All runs use onnxruntime, and the first one, which exports the network, does not count.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from memory import PRINT_PEAK_MIB
from photographs import find_photographs
from side_by_side import make_parser, publish, values_row

from cvkit.engine import checkpoint
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.predictor import SaliencyPredictor

CHILD = """
import sys
from cvkit.config import PredictConfig
from cvkit.commands.predict import predict
predict(PredictConfig(inputs=(sys.argv[1],), model=sys.argv[2], out=sys.argv[3], runtime="onnx"))
"""


def main() -> None:
    parser = make_parser(__doc__, data="../shared/data/osie/images/val", rounds=1)
    parser.add_argument("--few", type=int, default=100, help="images of the short run")
    parser.add_argument("--many", type=int, default=10_000, help="images of the long run")
    options = parser.parse_args()
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = find_photographs(options.data, folder / "source", 100)
        torch.manual_seed(0)
        # The network is small, because the benchmark measures the stream, which is the same for all networks.
        model = build(SaliencySpec.of("mlnet", backbone="timm:mobilenetv3_small_050"))
        predictor = SaliencyPredictor(model, (64, 96))
        checkpoint.save(folder / "best.pt", "saliency", {**predictor.metadata(), "weights": model.state_dict()})
        for run, count in enumerate((options.few, options.few, options.many)):
            inputs = folder / f"in-{run}"
            inputs.mkdir()
            for number in range(count):
                (inputs / f"{number:06d}.jpg").symlink_to(photos[number % len(photos)])
            arguments = [
                sys.executable,
                "-c",
                CHILD + PRINT_PEAK_MIB,
                str(inputs),
                str(folder / "best.pt"),
                str(folder / f"out-{run}"),
            ]
            completed = subprocess.run(arguments, check=True, capture_output=True, text=True)
            peaks[count] = float(completed.stdout.split()[-1])
            print(f"{count:6d} images: peak resident memory {peaks[count]:.0f} MiB", flush=True)
    growth = 100 * (peaks[options.many] / peaks[options.few] - 1)
    claim = f"peak resident memory of `predict`, {options.many} photographs ({peaks[options.many]:.0f} MiB)"
    publish([values_row(claim, [growth], "{:+.1f}", " %", f"{options.few} photographs")], options.json)


if __name__ == "__main__":
    main()
