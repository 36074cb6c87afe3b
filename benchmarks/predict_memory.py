"""Compare the peak resident memory of `predict` for few and for many images.

Each run is a process of its own. The inputs are symbolic links to the same photographs, repeated as often as needed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from cvkit.engine import checkpoint
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.predictor import SaliencyPredictor

CHILD = """
import json, resource, sys
from cvkit.config import PredictConfig
from cvkit.commands.predict import predict
predict(PredictConfig(inputs=(sys.argv[1],), model=sys.argv[2], out=sys.argv[3]))
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data/osie", help="data set folder whose val photographs to use")
    parser.add_argument("--few", type=int, default=100, help="images of the short run")
    parser.add_argument("--many", type=int, default=10_000, help="images of the long run")
    options = parser.parse_args()
    photos = [path.resolve() for path in sorted(Path(options.data).glob("images/val/*.jpg"))]
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        # The network is small, because the benchmark measures the stream, which is the same for all networks.
        model = build(SaliencySpec.of("mlnet", backbone="timm:mobilenetv3_small_050"))
        predictor = SaliencyPredictor(model, (64, 96))
        checkpoint.save(folder / "best.pt", "saliency", {**predictor.metadata(), "weights": model.state_dict()})
        for count in (options.few, options.many):
            inputs = folder / f"in-{count}"
            inputs.mkdir()
            for number in range(count):
                (inputs / f"{number:06d}.jpg").symlink_to(photos[number % len(photos)])
            arguments = [
                sys.executable,
                "-c",
                CHILD,
                str(inputs),
                str(folder / "best.pt"),
                str(folder / f"out-{count}"),
            ]
            completed = subprocess.run(arguments, check=True, capture_output=True, text=True)
            peaks[count] = json.loads(completed.stdout) / 1024
            print(f"{count:6d} images: peak resident memory {peaks[count]:.0f} MiB", flush=True)
    print(f"growth: {peaks[options.many] / peaks[options.few] - 1:+.1%}")


if __name__ == "__main__":
    main()
