"""Compare a whole process of `cvkit gradcam` for one image with a short script that uses torch and torchvision.

Both load the weights of VGG-16 from a file, explain the top class of one photograph, and write the map as a PNG.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from photographs import make_photographs
from side_by_side import extra_seconds, make_parser, publish, report, time_rounds

from cvkit.tasks.classification import loading

SCRIPT = """
import sys
import torch
import torchvision
from PIL import Image
from torchvision.io import write_png
from torchvision.transforms.functional import resize

weights, photo, target, name = sys.argv[1:]
model = torchvision.models.get_model(name)
model.load_state_dict(torch.load(weights, weights_only=True))
model.eval()
transform = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
image = Image.open(photo).convert("RGB")
activations = {}
layer = model.features[29] if name.startswith("vgg") else model.features[-1]
layer.register_forward_hook(lambda m, i, o: activations.update(a=o))
logits = model(transform(image)[None])
score = logits[0].max()
gradient = torch.autograd.grad(score, activations["a"])[0]
cam = (gradient.mean((2, 3), keepdim=True) * activations["a"]).sum(1).relu()
cam = resize((cam / cam.max()).detach(), (image.height, image.width), antialias=False)
write_png((cam * 255).to(torch.uint8), target)
"""


def main() -> None:
    parser = make_parser(__doc__, rounds=7)
    parser.add_argument("--photo", help="a JPEG file; a generated one if it is not given")
    parser.add_argument("--model", default="vgg16")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = options.photo or str(make_photographs(folder / "photo", 1)[0])
        (folder / "bare.py").write_text(SCRIPT)
        weights = str(folder / "weights.pth")
        torch.save(loading.load(options.model, "none").network.state_dict(), weights)

        def process(*arguments: str) -> None:
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

        out = str(folder / "out")
        cvkit = ["-m", "cvkit", "gradcam", photo, "--model", options.model, "--weights", weights]
        functions = {
            "bare script": lambda: process(
                str(folder / "bare.py"), weights, photo, str(folder / "a.png"), options.model
            ),
            "cvkit gradcam --save map": lambda: process(*cvkit, "--out", out, "--overwrite", "--save", "map"),
            "cvkit gradcam": lambda: process(*cvkit, "--out", out + "2", "--overwrite"),
        }
        times = time_rounds(functions, options.rounds)
    report(times, "bare script")
    rows = [
        extra_seconds(times, name, "bare script", f"one image as a process, {options.model}, weights loaded: `{name}`")
        for name in list(functions)[1:]
    ]
    publish(rows, options.json)


if __name__ == "__main__":
    main()
