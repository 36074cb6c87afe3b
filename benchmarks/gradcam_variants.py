"""Compute Grad-CAM of a batch with cvkit, with pytorch-grad-cam and with torchcam, for comparisons of their speed."""

import warnings
from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn

from cvkit.tasks.attribution import Explainer
from cvkit.tasks.attribution.target_layer import default_target
from cvkit.tasks.classification import loading, specification
from cvkit.tasks.classification.classifier import Classifier

FORWARD = "bare forward pass"
Explain = Callable[[int], object]  # explains the batch for a number of classes


def target_of(name: str) -> str:
    """Return the name of the target layer."""
    return default_target(specification.blueprint(name), (1, 3, 224, 224), 1000).name


def forward_pass(name: str, weights: str, images: Tensor) -> Explain:
    """Return the forward pass of the network alone, which ignores the number of classes."""
    loaded = loading.load(name, weights)
    network = loaded.network.eval().to(images.device).to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)

    def forward(classes: int) -> object:
        del classes
        with torch.inference_mode():
            return network(images).sum().item()

    return forward


def with_cvkit(name: str, weights: str, images: Tensor) -> Explain:
    """Return cvkit's explanation of the most likely classes."""
    loaded = loading.load(name, weights)
    classifier = Classifier(loaded.network, loaded.facts, device=images.device)
    images = images.contiguous(memory_format=classifier.layout)
    explainer = Explainer(classifier.network, default_target(specification.blueprint(name), (1, 3, 224, 224), 1000))
    return lambda classes: explainer(images, lambda logits: logits.topk(classes).indices).maps.cpu()


def with_pytorch_grad_cam(name: str, weights: str, images: Tensor) -> Explain:
    """Return the explanation of pytorch-grad-cam, one call per class.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    network = _network(name, weights, images)
    cam = GradCAM(network, [network.get_submodule(target_of(name))])
    return lambda classes: [cam(images, [ClassifierOutputTarget(rank)] * len(images)) for rank in range(classes)]


def with_torchcam(name: str, weights: str, images: Tensor) -> Explain:
    """Return the explanation of torchcam: one forward pass, and one backward pass per class.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    from torchcam.methods import GradCAM

    network = _network(name, weights, images)
    extractor = GradCAM(network, target_of(name))

    def explain(classes: int) -> object:
        network.zero_grad(set_to_none=True)
        logits = network(images)
        top = logits.topk(classes).indices.T.tolist()
        return [extractor(each, logits, retain_graph=rank < classes - 1)[0].cpu() for rank, each in enumerate(top)]

    return explain


def _network(name: str, weights: str, images: Tensor) -> nn.Module:
    return loading.load(name, weights).network.eval().to(images.device)


MAKERS: Mapping[str, Callable[[str, str, Tensor], Explain]] = {
    FORWARD: forward_pass,
    "cvkit": with_cvkit,
    "torchcam": with_torchcam,
    "pytorch-grad-cam": with_pytorch_grad_cam,
}


def grad_cam_peers(
    name: str, weights: str, batch: int, device: torch.device, only: Collection[str] = ()
) -> dict[str, Explain]:
    """Return the forward pass, cvkit, and each peer that is installed, as functions of the number of classes.

    All get the same random float32 batch on the device, and return maps on the processor. cvkit and the forward pass
    run in the memory layout that cvkit uses, the peers in that in which the network is built.

    Args:
        name: A torchvision classifier.
        weights: File with its weights, or ``none``.
        batch: Images per batch.
        device: Device to compute on.
        only: Names of the variants in ``MAKERS``; empty for all.
    """
    variants = {}
    for label in only or MAKERS:
        torch.manual_seed(0)
        images = torch.randn(batch, 3, 224, 224, device=device)
        try:
            variants[label] = MAKERS[label](name, weights, images)
        except ModuleNotFoundError:
            continue  # a peer that is not installed
    return variants
