"""Compare `classify` and `gradcam` on a folder of photographs with the bare forward pass and timm's inference loop.

The bare forward pass runs on normalised batches in memory, in the memory layout that cvkit uses. The loop of timm is
that of its inference script: `create_dataset` on a folder of images, `create_loader`, `model(input)`, softmax and
top-k, with the same model, images, batch size and number of workers. The times of the commands include decoding and
writing of `results.csv`; those of `gradcam` also include the 16-bit map, overlay and panel of every image. The model
has random weights, and it is loaded before the clock starts.
"""

import argparse
import shutil
import tempfile
import warnings
from pathlib import Path

import torch
from side_by_side import median_seconds, report

from cvkit.commands import classify as classify_command
from cvkit.commands import gradcam as gradcam_command
from cvkit.config import ClassifyConfig, GradcamConfig
from cvkit.data.fit import fit_crop
from cvkit.data.images import read_image
from cvkit.tasks.classification import kind, loading
from cvkit.tasks.classification.classifier import Classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data/imagenet-samples", help="a folder of photographs")
    parser.add_argument("--model", default="vgg16")
    parser.add_argument(
        "--images", type=int, default=160, help="number of photographs; those of the folder are repeated"
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", default="map,overlay,panel")
    options = parser.parse_args()
    loaded = loading.load(options.model, "none")
    kind.load = lambda *_: loaded  # the commands load classifiers through this name
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = copies(Path(options.data), folder / "photos" / "all", options.images)
        common = {"inputs": (str(folder / "photos"),), "model": options.model, "weights": "none"}
        common |= {"batch_size": options.batch, "workers": options.workers, "device": options.device}
        classifier = Classifier(loaded.network, loaded.facts, device=options.device)
        distinct = paths[: 4 * options.batch]
        pixels = torch.stack([fit_crop(read_image(path), classifier.preprocessing)[0] for path in distinct])
        batches = [classifier.normalise(part) for part in pixels.split(options.batch)]

        def bare() -> None:
            with torch.inference_mode():
                for index in range(-(-len(paths) // options.batch)):
                    classifier.network(batches[index % len(batches)]).sum().item()

        def classify() -> None:
            shutil.rmtree(folder / "c", ignore_errors=True)
            classify_command.classify(ClassifyConfig(**common, out=str(folder / "c")))  # type: ignore[arg-type]

        def gradcam() -> None:
            shutil.rmtree(folder / "g", ignore_errors=True)
            save = tuple(options.save.split(","))
            gradcam_command.gradcam(GradcamConfig(**common, out=str(folder / "g"), save=save))  # type: ignore[arg-type]

        plain = timm_loop(options, folder / "photos", loaded)
        functions = {
            "bare forward pass": bare,
            "cvkit classify": classify,
            "cvkit gradcam": gradcam,
            "timm's loop": plain,
        }
        medians = median_seconds(functions, options.rounds)
    report(medians, "bare forward pass", options.images)
    for name in ("classify", "gradcam"):
        print(f"{name} reaches {medians['bare forward pass'] / medians[f'cvkit {name}']:.1%} of the bare forward pass")
    ratio = medians["timm's loop"] / medians["cvkit classify"]
    print(f"classify is {ratio:.2f} times as fast as timm's loop")


def copies(source: Path, target: Path, count: int) -> list[Path]:
    """Copy the photographs of a folder into another one, repeated up to ``count`` files."""
    photographs = sorted(path for path in source.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    target.mkdir(parents=True)
    paths = [target / f"{index:05d}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        shutil.copy(photographs[index % len(photographs)], path)
    return paths


def timm_loop(options: argparse.Namespace, folder: Path, loaded: loading.LoadedClassifier):
    """Return the loop of timm's inference script."""
    from timm.data import create_dataset, create_loader

    model = loading.make(options.model)
    model.load_state_dict(loaded.network.state_dict())
    model.eval().to(options.device)
    preprocessing = loaded.facts.preprocessing

    def loop() -> None:
        data = create_dataset(root=str(folder), name="folder")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loader = create_loader(
                data,
                batch_size=options.batch,
                input_size=(3, *preprocessing.crop),
                use_prefetcher=options.device != "cpu",
                num_workers=options.workers,
                interpolation=preprocessing.interpolation,
                mean=preprocessing.mean,
                std=preprocessing.std,
                crop_pct=preprocessing.crop[0] / preprocessing.resize,
                device=torch.device(options.device),
            )
            with torch.inference_mode():
                for images, _ in loader:
                    model(images.to(options.device)).softmax(-1).topk(5)[1].cpu()

    return loop


if __name__ == "__main__":
    main()
