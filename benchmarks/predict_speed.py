"""Compare `predict` with the bare forward pass and with a plain script.

The network is `mlnet` (ML-Net, arXiv 1609.01064) with random weights; photographs and maps have 800x600 pixels if the
data has them. The bare forward pass runs on normalised batches in memory, in the memory layout that `predict` uses. The
plain script processes one image at a time: it reads and writes with imageio and resizes with scikit-image.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from photographs import find_photographs
from side_by_side import Row, faster, make_parser, publish, rate, report, throughput, time_rounds
from skimage.transform import resize

from cvkit.commands.predict import predict
from cvkit.config import PredictConfig
from cvkit.data.images import read_image, resize_image
from cvkit.engine import checkpoint
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.predictor import SaliencyPredictor

SIZE = (240, 320)
BARE, PREDICT, PLAIN = "bare forward pass", "cvkit predict", "plain script (scikit-image, imageio)"


def measure(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Return the rows of one backbone."""
    paths = find_photographs(options.data, folder / "source", options.images)
    torch.manual_seed(0)
    model = build(SaliencySpec.of("mlnet", backbone=options.backbone)).eval()
    predictor = SaliencyPredictor(model, SIZE)
    checkpoint.save(folder / "best.pt", "saliency", {**predictor.metadata(), "weights": model.state_dict()})
    stacked = torch.stack([resize_image(read_image(path), SIZE) for path in paths])
    batches = [predictor.normalise(part) for part in stacked.split(options.batch)]

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                model(batch)

    def whole() -> None:
        shutil.rmtree(folder / "maps", ignore_errors=True)
        common = {"batch_size": options.batch, "device": "cpu", "out": str(folder / "maps")}
        predict(PredictConfig(inputs=tuple(map(str, paths)), model=str(folder / "best.pt"), **common))  # type: ignore[arg-type]

    functions = {BARE: bare, PREDICT: whole, PLAIN: plain_script(paths, options.backbone, folder / "plain")}
    times = time_rounds(functions, options.rounds)
    report(times, BARE, len(paths))
    claim = f"`predict`, {len(paths)} photographs, mlnet on {options.backbone}, batches of {options.batch}"
    return [
        rate(times, PREDICT, len(paths), claim),
        throughput(times, PREDICT, BARE, claim),
        faster(times, PREDICT, PLAIN, claim),
    ]


def plain_script(paths: list[Path], backbone: str, folder: Path) -> Callable[[], None]:
    """Return the loop of a script that someone writes without cvkit."""
    model = build(SaliencySpec.of("mlnet", backbone=backbone)).eval()
    folder.mkdir()

    def plain() -> None:
        for path in paths:
            image = imageio.imread(path)
            small = resize(image, SIZE, anti_aliasing=True)
            normalised = (small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
            tensor = torch.from_numpy(normalised.transpose(2, 0, 1)[None].astype(np.float32))
            with torch.no_grad():
                saliency = model(tensor)[0, 0].numpy()
            saliency = resize(saliency / saliency.max(), output_shape=image.shape[:2])
            imageio.imwrite(folder / f"{path.stem}.png", (saliency * 255).astype(np.uint8))

    return plain


def main() -> None:
    parser = make_parser(__doc__, data="../shared/data/osie/images/val")
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        publish(measure(options, Path(name)), options.json)


if __name__ == "__main__":
    main()
