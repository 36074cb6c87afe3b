"""Compare the time and peak memory of Grad-CAM on VGG-16 with pytorch-grad-cam and with the bare forward pass.

Weights and images are random, which does not change the amount of work. `--device cuda` runs the comparison on a GPU.
All variants get the same float32 batch: pytorch-grad-cam in contiguous layout, cvkit and the bare forward pass in the
memory layout that cvkit uses. The peak memory is that of a separate process that explains one batch for one class; on
a GPU, it is the peak of PyTorch's allocator.
"""

import argparse
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable

import torch
from side_by_side import median_seconds, report

from cvkit.tasks.attribution import Explainer
from cvkit.tasks.attribution.target_layer import default_target
from cvkit.tasks.classification import loading
from cvkit.tasks.classification.classifier import Classifier

VARIANTS = ("forward", "cvkit", "pytorch-grad-cam")


def prepare(options: argparse.Namespace, variant: str) -> Callable[[int], object]:
    """Return a function that explains the batch for a number of classes with one of the variants."""
    torch.manual_seed(0)
    images = torch.randn(options.batch, 3, 224, 224, device=options.device)
    loaded = loading.load(options.model, "none")
    if variant != "pytorch-grad-cam":
        classifier = Classifier(loaded.network, loaded.facts, device=options.device)
        images = images.contiguous(memory_format=classifier.layout)
        if variant == "forward":

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


def peak_mib(options: argparse.Namespace, variant: str) -> float:
    """Return the peak memory of a process that explains one batch for one class."""
    arguments = [sys.executable, __file__, "--model", options.model, "--device", options.device]
    arguments += ["--batch", str(options.batch), "--alone", variant]
    return float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()[-1])


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
    parser.add_argument("--alone", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options)
        return
    peaks = {variant: peak_mib(options, variant) for variant in VARIANTS}
    ready = {variant: prepare(options, variant) for variant in VARIANTS}
    functions: dict[str, Callable[[], object]] = {"forward": lambda: ready["forward"](1)}
    for variant in VARIANTS[1:]:
        for classes in (1, 3):
            functions[f"{variant}, {classes} class{'es' if classes > 1 else ''}"] = lambda v=variant, c=classes: ready[
                v
            ](c)
    medians = median_seconds(functions, options.rounds)
    report(medians, "forward", options.batch)
    for classes in ("1 class", "3 classes"):
        ours, theirs = medians[f"cvkit, {classes}"], medians[f"pytorch-grad-cam, {classes}"]
        print(f"{classes}: {theirs / ours:.1f} times pytorch-grad-cam, {ours / medians['forward']:.3f} of the forward")
    print(", ".join(f"{variant}: {peak:.0f} MiB" for variant, peak in peaks.items()))
    print(f"peak memory is {peaks['cvkit'] / peaks['pytorch-grad-cam']:.0%} of pytorch-grad-cam's")


if __name__ == "__main__":
    main()
