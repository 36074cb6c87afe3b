"""Grad-CAM on VGG-16 against pytorch-grad-cam and the bare forward pass, side by side, and the peak memory of each.

The network has random weights, the images are random, as neither changes the work; `--device cuda` does the same on a
GPU. All ways get the same contiguous float32 batch but cvkit and the bare pass, which are in the memory layout that
cvkit uses. The memory is the peak of a process of its own that explains one batch for one class; on a GPU, of its
allocator.
"""

import argparse
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable

import torch
from side_by_side import report, seconds

from cvkit.tasks.attribution import Explainer
from cvkit.tasks.attribution.target_layer import default_target
from cvkit.tasks.classification import loading
from cvkit.tasks.classification.classifier import Classifier

WAYS = ("forward", "cvkit", "pytorch-grad-cam")


def prepare(options: argparse.Namespace, way: str) -> Callable[[int], object]:
    """Return what explains the batch for so many classes, in one of the ways."""
    torch.manual_seed(0)
    images = torch.randn(options.batch, 3, 224, 224, device=options.device)
    loaded = loading.load(options.model, "none")
    if way != "pytorch-grad-cam":
        classifier = Classifier(loaded.network, loaded.facts, device=options.device)
        images = images.contiguous(memory_format=classifier.layout)
        if way == "forward":

            def forward(classes: int) -> object:
                del classes
                with torch.inference_mode():
                    return classifier.network(images).sum().item()

            return forward
        target = default_target(loading.blueprint(options.model), (1, 3, 224, 224), 1000)
        explainer = Explainer(classifier.network, target)
        return lambda classes: explainer(images, lambda logits: logits.topk(classes).indices).maps.cpu()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    module = loaded.network.eval().to(options.device)
    layer = default_target(loading.blueprint(options.model), (1, 3, 224, 224), 1000).name
    cam = GradCAM(module, [module.get_submodule(layer)])

    def reference(classes: int) -> object:
        return [cam(images, [ClassifierOutputTarget(rank)] * len(images)) for rank in range(classes)]

    return reference


def peak_mib(options: argparse.Namespace, way: str) -> float:
    """Return the peak memory of a process that explains one batch for one class."""
    words = [sys.executable, __file__, "--model", options.model, "--device", options.device]
    words += ["--batch", str(options.batch), "--alone", way]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[-1])


def alone(options: argparse.Namespace) -> None:
    """Explain one batch for one class, and print the peak memory in MiB."""
    prepare(options, options.alone)(1)
    if options.device == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--alone", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options)
        return
    peaks = {way: peak_mib(options, way) for way in WAYS}
    ready = {way: prepare(options, way) for way in WAYS}
    ways: dict[str, Callable[[], object]] = {"forward": lambda: ready["forward"](1)}
    for way in WAYS[1:]:
        for classes in (1, 3):
            ways[f"{way}, {classes} class{'es' if classes > 1 else ''}"] = lambda w=way, c=classes: ready[w](c)
    medians = seconds(ways, options.rounds)
    report(medians, "forward", options.batch)
    for classes in ("1 class", "3 classes"):
        ours, theirs = medians[f"cvkit, {classes}"], medians[f"pytorch-grad-cam, {classes}"]
        print(f"{classes}: {theirs / ours:.1f} times pytorch-grad-cam, {ours / medians['forward']:.3f} of the forward")
    print(", ".join(f"{way}: {peak:.0f} MiB" for way, peak in peaks.items()))
    print(f"peak memory is {peaks['cvkit'] / peaks['pytorch-grad-cam']:.0%} of pytorch-grad-cam's")


if __name__ == "__main__":
    main()
