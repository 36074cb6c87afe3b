"""Compare whole processes of `classify` and `gradcam` over many photographs with the plain scripts of the peers.

All load the weights from a file, which is part of the time, because a user waits for it. `classify` is compared with a
script around timm's data set and loader, and `gradcam` with a script around torchcam that writes the same files: a
16-bit PNG map and a JPEG overlay per photograph. Both scripts use batches of the same size. The script of torchcam
decodes and writes in the main thread, as its documentation shows.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from photographs import find_photographs, repeat_photographs
from side_by_side import Row, faster, make_parser, publish, rate, report, time_rounds

from cvkit.tasks.attribution.target_layer import default_target
from cvkit.tasks.classification import loading, specification

TIMM_SCRIPT = """
import csv, sys, warnings
warnings.simplefilter("ignore")
import torch, torchvision
from timm.data import create_dataset, create_loader

name, weights, photos, out, batch, workers = sys.argv[1:]
model = torchvision.models.get_model(name)
model.load_state_dict(torch.load(weights, weights_only=True))
model.eval()
loader = create_loader(
    create_dataset(root=photos, name="folder"), batch_size=int(batch), input_size=(3, 224, 224), use_prefetcher=False,
    num_workers=int(workers), interpolation="bilinear", crop_pct=0.875,
)
rows = []
with torch.inference_mode():
    for images, _ in loader:
        values, classes = model(images).softmax(-1).topk(3)
        rows += zip(classes.tolist(), values.tolist())
with open(out, "w", newline="") as stream:
    csv.writer(stream).writerows([[number, *classes, *values] for number, (classes, values) in enumerate(rows)])
"""
TORCHCAM_SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import torch, torchvision
from PIL import Image
from torchcam.methods import GradCAM
from torchcam.utils import overlay_mask
from torchvision.transforms.functional import to_pil_image

name, weights, photos, out, batch, layer = sys.argv[1:]
model = torchvision.models.get_model(name)
model.load_state_dict(torch.load(weights, weights_only=True))
model.eval()
transform = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
paths = sorted(Path(photos).rglob("*.jpg"))
folder = Path(out)
folder.mkdir()
extractor = GradCAM(model, layer)
for first in range(0, len(paths), int(batch)):
    some = paths[first : first + int(batch)]
    images = [Image.open(path).convert("RGB") for path in some]
    logits = model(torch.stack([transform(image) for image in images]))
    maps = extractor(logits.argmax(1).tolist(), logits)[0]
    for path, image, one in zip(some, images, maps):
        mask = to_pil_image(one.detach(), mode="F")
        full = np.asarray(mask.resize(image.size, Image.Resampling.BICUBIC)).clip(0, 1)
        Image.fromarray((full * 65535).astype(np.uint16)).save(folder / f"{path.stem}.png")
        overlay_mask(image, mask, alpha=0.4).save(folder / f"{path.stem}.jpg")
"""


def measure(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Return the rows of one network."""
    name = options.model
    photos = str(folder / "photos")
    source = find_photographs(options.data, folder / "source", options.images)
    repeat_photographs(source, folder / "photos" / "all", options.images)
    weights = str(folder / "weights.pth")
    torch.save(loading.load(name, "none").network.state_dict(), weights)
    (folder / "scripts").mkdir()
    layer = default_target(specification.blueprint(name), (1, 3, 224, 224), 1000).name
    batch = str(options.batch)
    model = ["--model", name, "--weights", weights, "--batch-size", batch, "--device", "cpu", "--quiet", "--out"]
    out = str(folder / "out")
    cvkit = [sys.executable, "-m", "cvkit"]
    commands = {
        "cvkit classify": [*cvkit, "classify", photos, *model, out],
        "script with timm": [sys.executable, script(folder, TIMM_SCRIPT), name, weights, photos, out, batch, "2"],
        "cvkit gradcam": [*cvkit, "gradcam", photos, "--save", "map,overlay", *model, out],
    }
    if importlib.util.find_spec("torchcam"):
        torchcam = [sys.executable, script(folder, TORCHCAM_SCRIPT), name, weights, photos, out, batch, layer]
        commands["script with torchcam"] = torchcam
    else:
        print("torchcam is not installed (pip install torchcam): gradcam has no peer here")

    def process(command: list[str]) -> None:
        remove(out)
        subprocess.run(command, check=True, capture_output=True)

    times = time_rounds({label: lambda c=command: process(c) for label, command in commands.items()}, options.rounds)
    report(times, "cvkit classify", options.images)
    claim = f"a process with model loading, {options.images} photographs, {name}, batches of {batch}"
    rows = [rate(times, label, options.images, f"`{label}`, {claim}") for label in ("cvkit classify", "cvkit gradcam")]
    for own, peer in (("cvkit classify", "script with timm"), ("cvkit gradcam", "script with torchcam")):
        rows += [faster(times, own, peer, f"`{own}`, {claim}")] if peer in times else []
    return rows


def script(folder: Path, text: str) -> str:
    """Write a script into a folder of its own, in which no module hides an installed one, and return its path."""
    path = folder / "scripts" / f"plain_{len(list((folder / 'scripts').iterdir()))}.py"
    path.write_text(text)
    return str(path)


def remove(out: str) -> None:
    """Remove the results of the last run."""
    if Path(out).is_dir():
        shutil.rmtree(out)
    else:
        Path(out).unlink(missing_ok=True)


def main() -> None:
    parser = make_parser(__doc__, data="../shared/data/imagenet-samples", rounds=3)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--images", type=int, default=400, help="photographs; those of the folder are repeated")
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        publish(measure(options, Path(name)), options.json)


if __name__ == "__main__":
    main()
