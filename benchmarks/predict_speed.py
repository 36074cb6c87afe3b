"""Compare `predict` with the bare forward pass and with a plain script.

The network is `mlnet` (ML-Net, arXiv 1609.01064) on VGG-16 with random weights; photographs and maps have 800x600
pixels. The bare forward pass runs on normalised batches in memory, in the memory layout that `predict` uses. The plain
script processes one image at a time: it reads and writes with imageio and resizes with scikit-image.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from side_by_side import median_seconds, report
from skimage.transform import resize

from cvkit.commands.predict import predict
from cvkit.config import PredictConfig
from cvkit.data.images import read_image, resize_image
from cvkit.engine import checkpoint
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.predictor import SaliencyPredictor

SIZE, BATCH = (240, 320), 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data/osie", help="data set folder whose val photographs to use")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    paths = sorted(Path(options.data).glob("images/val/*.jpg"))[: options.images]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        model = build(SaliencySpec.of("mlnet")).eval()
        predictor = SaliencyPredictor(model, SIZE)
        checkpoint.save(folder / "best.pt", "saliency", {**predictor.metadata(), "weights": model.state_dict()})
        stacked = torch.stack([resize_image(read_image(path), SIZE) for path in paths])
        batches = [predictor.normalise(part) for part in stacked.split(BATCH)]
        plain_model = build(SaliencySpec.of("mlnet")).eval()

        def bare() -> None:
            with torch.inference_mode():
                for batch in batches:
                    model(batch)

        def whole() -> None:
            shutil.rmtree(folder / "maps", ignore_errors=True)
            inputs = tuple(map(str, paths))
            predict(PredictConfig(inputs=inputs, model=str(folder / "best.pt"), out=str(folder / "maps")))

        def plain() -> None:
            (folder / "plain").mkdir(exist_ok=True)
            for path in paths:
                image = imageio.imread(path)
                small = resize(image, SIZE, anti_aliasing=True)
                normalised = (small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
                tensor = torch.from_numpy(normalised.transpose(2, 0, 1)[None].astype(np.float32))
                with torch.no_grad():
                    saliency = plain_model(tensor)[0, 0].numpy()
                saliency = resize(saliency / saliency.max(), output_shape=image.shape[:2])
                imageio.imwrite(folder / "plain" / f"{path.stem}.png", (saliency * 255).astype(np.uint8))

        functions = {"bare forward pass": bare, "cvkit predict": whole, "plain script": plain}
        medians = median_seconds(functions, options.rounds)
    report(medians, "bare forward pass", len(paths))
    print(f"predict reaches {medians['bare forward pass'] / medians['cvkit predict']:.1%} of the bare forward pass")
    faster = medians["plain script"] / medians["cvkit predict"]
    print(f"predict is {faster:.2f} times as fast as the plain script")


if __name__ == "__main__":
    main()
