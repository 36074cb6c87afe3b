"""`classify` and `gradcam` over a folder of photographs, against the bare forward pass and timm's way of inference.

The bare forward pass has its batches in memory, normalised, in the memory layout that cvkit uses. The plain loop is
what timm's own inference script does: `create_dataset` on a folder of images, `create_loader`, `model(input)`,
softmax and top-k, with the same model, images, batch size and number of workers. Whole commands: decoding, and writing
of `results.csv` (and of the 16-bit map, overlay and panel of every image for `gradcam`), included; the model is loaded
beforehand for all. Random weights.
"""

import argparse
import shutil
import tempfile
import warnings
from pathlib import Path

import torch
from side_by_side import report, seconds

from cvkit.commands import classify as classify_task
from cvkit.commands import gradcam as gradcam_task
from cvkit.config import ClassifyConfig, GradcamConfig
from cvkit.data.fit import fit_crop
from cvkit.data.images import read_image
from cvkit.tasks.classification import loading
from cvkit.tasks.classification.classifier import Classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data/imagenet-samples", help="a folder of photographs")
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--images", type=int, default=160, help="so many photographs, the folder's again and again")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", default="map,overlay,panel")
    options = parser.parse_args()
    loaded = loading.load(options.model, "none")
    loading.load = lambda *_: loaded  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = copies(Path(options.data), folder / "photos" / "all", options.images)
        common = {"inputs": (str(folder / "photos"),), "model": options.model, "weights": "none"}
        common |= {"batch_size": options.batch, "workers": options.workers, "device": options.device}
        classifier = Classifier(loaded.network, loaded.facts, device=options.device)
        few = paths[: 4 * options.batch]
        pixels = torch.stack([fit_crop(read_image(path), classifier.preprocessing)[0] for path in few])
        batches = [classifier.normalise(part) for part in pixels.split(options.batch)]

        def bare() -> None:
            with torch.inference_mode():
                for place in range(-(-len(paths) // options.batch)):
                    classifier.network(batches[place % len(batches)]).sum().item()

        def classify() -> None:
            shutil.rmtree(folder / "c", ignore_errors=True)
            classify_task.classify(ClassifyConfig(**common, out=str(folder / "c")))  # type: ignore[arg-type]

        def gradcam() -> None:
            shutil.rmtree(folder / "g", ignore_errors=True)
            save = tuple(options.save.split(","))
            gradcam_task.gradcam(GradcamConfig(**common, out=str(folder / "g"), save=save))  # type: ignore[arg-type]

        plain = timm_loop(options, folder / "photos", loaded)
        ways = {"bare forward pass": bare, "cvkit classify": classify, "cvkit gradcam": gradcam, "timm's way": plain}
        medians = seconds(ways, options.rounds)
    report(medians, "bare forward pass", options.images)
    for name in ("classify", "gradcam"):
        print(f"{name} reaches {medians['bare forward pass'] / medians[f'cvkit {name}']:.1%} of the bare forward pass")
    plain_share = medians["timm's way"] / medians["cvkit classify"]
    print(f"classify is {plain_share:.2f} times as fast as timm's way")


def copies(source: Path, target: Path, count: int) -> list[Path]:
    """Fill a folder with so many photographs."""
    found = sorted(path for path in source.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    target.mkdir(parents=True)
    paths = [target / f"{place:05d}.jpg" for place in range(count)]
    for place, path in enumerate(paths):
        shutil.copy(found[place % len(found)], path)
    return paths


def timm_loop(options: argparse.Namespace, folder: Path, loaded: loading.Loaded):
    """Return the loop of timm's inference script."""
    from timm.data import create_dataset, create_loader

    model = loading.make(options.model)
    model.load_state_dict(loaded.network.state_dict())
    model.eval().to(options.device)
    way = loaded.facts.preprocessing

    def loop() -> None:
        data = create_dataset(root=str(folder), name="folder")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loader = create_loader(
                data,
                batch_size=options.batch,
                input_size=(3, *way.crop),
                use_prefetcher=options.device != "cpu",
                num_workers=options.workers,
                interpolation=way.interpolation,
                mean=way.mean,
                std=way.std,
                crop_pct=way.crop[0] / way.resize,
                device=torch.device(options.device),
            )
            with torch.inference_mode():
                for images, _ in loader:
                    model(images.to(options.device)).softmax(-1).topk(5)[1].cpu()

    return loop


if __name__ == "__main__":
    main()
