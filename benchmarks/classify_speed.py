"""Compare `classify` and `gradcam` over a folder of photographs with the bare forward pass and timm's inference loop.

The bare forward pass runs on normalised batches in memory, in the memory layout that cvkit uses. The loop of timm is
that of its inference script: `create_dataset` on a folder of images, `create_loader`, `model(input)`, softmax and
top-k, with the same model, images, batch size and number of workers. The times of the commands include decoding and
writing of `results.csv`; those of `gradcam` also include the files that `--save` names. The model has random weights,
and it is loaded before the clock starts (`process_speed.py` includes it).
"""

import argparse
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from photographs import find_photographs, repeat_photographs
from side_by_side import Row, faster, make_parser, publish, rate, report, throughput, time_rounds
from torch import Tensor

from cvkit.commands import classify as classify_command
from cvkit.commands import gradcam as gradcam_command
from cvkit.config import ClassifyConfig, GradcamConfig
from cvkit.data.fit import fit_crop
from cvkit.data.images import read_image
from cvkit.tasks.classification import kind, loading, specification
from cvkit.tasks.classification.classifier import Classifier

BARE, CLASSIFY, GRADCAM, TIMM = "bare forward pass", "cvkit classify", "cvkit gradcam", "timm's inference loop"


def measure(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Return the rows of one network."""
    loaded = loading.load(options.model, "none")
    kind.load = lambda *_: loaded  # the commands load classifiers through this name
    source = find_photographs(options.data, folder / "source", options.images)
    paths = repeat_photographs(source, folder / "photos" / "all", options.images)
    common = {"inputs": (str(folder / "photos"),), "model": options.model, "weights": "none"}
    common |= {"batch_size": options.batch, "workers": options.workers, "device": options.device}

    def classify() -> None:
        shutil.rmtree(folder / "c", ignore_errors=True)
        classify_command.classify(ClassifyConfig(**common, out=str(folder / "c")))  # type: ignore[arg-type]

    def gradcam() -> None:
        shutil.rmtree(folder / "g", ignore_errors=True)
        save = tuple(options.save.split(","))
        gradcam_command.gradcam(GradcamConfig(**common, out=str(folder / "g"), save=save))  # type: ignore[arg-type]

    functions: dict[str, Callable[[], object]] = {
        BARE: bare_loop(options, loaded, paths),
        CLASSIFY: classify,
        GRADCAM: gradcam,
        TIMM: timm_loop(options, folder / "photos", loaded),
    }
    times = time_rounds(functions, options.rounds)
    report(times, BARE, options.images)
    photos = f"{options.images} photographs, {options.model}, batches of {options.batch}, model loaded"
    written = f"{photos}, --save {options.save}"
    return [
        rate(times, CLASSIFY, options.images, f"`classify`, {photos}"),
        throughput(times, CLASSIFY, BARE, f"`classify`, {photos}"),
        faster(times, CLASSIFY, TIMM, f"`classify`, {photos}"),
        rate(times, GRADCAM, options.images, f"`gradcam`, {written}"),
        throughput(times, GRADCAM, BARE, f"`gradcam`, {written}"),
    ]


def bare_loop(options: argparse.Namespace, loaded: loading.LoadedClassifier, paths: list[Path]) -> Callable[[], None]:
    """Return the forward pass over as many normalised batches in memory as there are photographs."""
    network = specification.make(options.model)
    network.load_state_dict(loaded.network.state_dict())
    classifier = Classifier(network, loaded.facts, device=options.device)
    distinct = paths[: 4 * options.batch]
    pixels = torch.stack([fit_crop(read_image(path), classifier.preprocessing)[0] for path in distinct])
    batches = [classifier.normalise(part) for part in pixels.split(options.batch)]

    def bare() -> None:
        with torch.inference_mode():
            for index in range(-(-len(paths) // options.batch)):
                classifier.network(batches[index % len(batches)]).sum().item()

    return bare


def timm_loop(options: argparse.Namespace, folder: Path, loaded: loading.LoadedClassifier) -> Callable[[], None]:
    """Return the loop of timm's inference script."""
    from timm.data import create_dataset, create_loader

    model = specification.make(options.model)
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
                    predictions(model(images.to(options.device)))

    return loop


def predictions(logits: Tensor) -> object:
    """Return the five most likely classes, as timm's script does."""
    return logits.softmax(-1).topk(5)[1].cpu()


def main() -> None:
    parser = make_parser(__doc__, data="../shared/data/imagenet-samples", rounds=3)
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--images", type=int, default=160, help="photographs; those of the folder are repeated")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", default="map,overlay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        publish(measure(options, Path(name)), options.json)


if __name__ == "__main__":
    main()
