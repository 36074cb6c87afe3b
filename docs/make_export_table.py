"""Write the table of docs/export.md: which networks become ONNX and pt2 files that pass the verification.

Run ``python docs/make_export_table.py [NAME ...]``. With names, the script prints their rows. Without names, it makes
all rows and writes them into the page.

Weights are random, and spread until every part of a network affects its output. As networks are built, some heads and
branches are zero, and a file without them would pass.
"""

import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from cvkit.catalog import SALIENCY_MODELS
from cvkit.commands.cae_embed import cae_embed
from cvkit.commands.export import ExportResult, export
from cvkit.config import CaeEmbedConfig, ExportConfig, TrainSaliencyConfig
from cvkit.data.images import read_image, resize_image
from cvkit.engine import checkpoint
from cvkit.errors import CvkitError
from cvkit.models.backbones import normalisation
from cvkit.models.exported.samples import sample_photographs
from cvkit.models.published import pretrained
from cvkit.tasks.classification import specification
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.predictor import SaliencyPredictor

PAGE = Path(__file__).with_name("export.md")
FORMATS = ("onnx", "pt2")
TORCHVISION = (
    "alexnet",
    "vgg16",
    "squeezenet1_0",
    "resnet50",
    "resnext50_32x4d",
    "densenet121",
    "googlenet",
    "inception_v3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "shufflenet_v2_x1_0",
    "mnasnet1_0",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
    "maxvit_t",
)
TIMM = (
    "resnet18",
    "vgg11_bn",
    "mobilenetv3_small_100",
    "efficientnet_b0",
    "convnext_nano",
    "densenet121",
    "regnety_008",
    "swin_tiny_patch4_window7_224",
    "vit_tiny_patch16_224",
    "xception41",
    "inception_v4",
    "mixer_b16_224",
    "ghostnet_100",
    "repvgg_a0",
    "coatnet_0_rw_224",
    "deit3_small_patch16_224",
)
AUTOENCODER = {"encoder": "autoencoder, encoder", "whole": "autoencoder, whole"}


def main() -> None:
    """Print the rows of the networks that the command line names, or write all rows into the page."""
    selected = sys.argv[1:]
    names = [*SALIENCY_MODELS, *AUTOENCODER.values(), *TORCHVISION, *(f"timm:{name}" for name in TIMM)]
    lines = ["| network | input | ONNX: differences | MB | pt2: differences | MB |", "|---|---|---|---|---|---|"]
    for name in names:
        if not selected or name in selected:
            began = time.monotonic()
            lines.append(row(name))
            print(lines[-1], f"({time.monotonic() - began:.0f} s)", flush=True)
    if not selected:
        text = re.sub(
            r"(<!-- table -->\n).*?(<!-- end of table -->)",
            lambda match: match[1] + "\n".join(lines) + "\n" + match[2],
            PAGE.read_text(encoding="utf-8"),
            flags=re.DOTALL,
        )
        PAGE.write_text(text, encoding="utf-8")


def row(name: str) -> str:
    """Return the row of a network: the differences that the verification measured, or the error."""
    cells = []
    size = "?"
    with tempfile.TemporaryDirectory() as folder:
        options = source(name, Path(folder))
        for format in FORMATS:
            try:
                result = export(ExportConfig(**options, format=format, out=f"{folder}/model.{format}"))  # type: ignore[arg-type]
            except CvkitError as error:
                cells.append(f"{error} | -")
            else:
                cells.append(cell(result))
                size = "x".join(map(str, (result.facts.channels, *result.facts.size)))
    return f"| `{name}` | {size} | {' | '.join(cells)} |"


def cell(result: ExportResult) -> str:
    """Return the largest differences of all checks, and the size of the file."""
    absolute, relative = (max(getattr(check, kind) for check in result.checks) for kind in ("absolute", "relative"))
    same = all(check.agreement in (None, 1) for check in result.checks)
    return f"{absolute:.1g}, {relative:.1g}{'' if same else ', another top class'} | {result.bytes / 1e6:.1f}"


def source(name: str, folder: Path) -> dict[str, str]:
    """Return the export options of a network: a checkpoint made here, or a classifier and a weights file."""
    if name in SALIENCY_MODELS:
        facts, spec = SALIENCY_MODELS[name], SaliencySpec.of(name)
        predictor = SaliencyPredictor(build(spec), facts.size, normalisation=normalisation(spec.backbone))
        spread_weights(predictor.model, facts.size)
        card = {**predictor.metadata(), "weights": predictor.model.state_dict()}
        config = TrainSaliencyConfig(data="none", model=name).as_dict()
        checkpoint.save(folder / "best.pt", "saliency", {**card, "config": config})
        return {"model": str(folder / "best.pt")}
    if name in AUTOENCODER.values():
        images = np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8)
        for number, image in enumerate(images):
            (folder / "data").mkdir(exist_ok=True)
            Image.fromarray(image).save(folder / f"data/{number}.png")
        cae_embed(CaeEmbedConfig(data=str(folder / "data"), epochs=1, out=str(folder / "run"), device="cpu"))
        return {"model": str(folder / "run"), "part": name.split()[-1]}
    torch.manual_seed(0)
    network = specification.make(name)
    spread_weights(network, pretrained.facts(name).preprocessing.crop)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / "weights.safetensors")
    return {"model": name, "weights": str(folder / "weights.safetensors")}


def spread_weights(network: nn.Module, size: tuple[int, int]) -> None:
    """Randomise constant parameters, and set the statistics of batch norms to those of photographs."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if float(parameter.std(correction=0)) == 0:
                near_zero = float(parameter.flatten()[0].abs()) < 0.01  # biases, heads, the scales of branches
                parameter.copy_(torch.randn_like(parameter) * 0.1 + (0.0 if near_zero else parameter))
        network.eval()  # without dropout
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None  # the mean of all passes
                module.train()
        photographs = [resize_image(read_image(Path(path)), size) for path in sample_photographs()]
        pixels = (torch.stack(photographs).float() / 255 - 0.45) / 0.225
        for seen in (pixels, pixels.flip(3), pixels.flip(2)):
            network(seen)
        network.eval()


if __name__ == "__main__":
    main()
