"""Build networks with random weights whose outputs differ from image to image, as those of trained networks do.

With default random weights and batch norms, all images get nearly the same output, which hides errors. Here the batch
norms get the statistics of photographs, and the last layer gets weights in the directions in which the features of
photographs differ. The logits have a mean of 0 and a standard deviation of 1 over photographs.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from cvkit.data.fit import fit_crop
from cvkit.data.images import read_image, resize_image
from cvkit.engine import checkpoint
from cvkit.models.backbones import normalisation
from cvkit.tasks.classification import loading
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build
from cvkit.tasks.saliency.predictor import SaliencyPredictor

SALIENCY_SIZE = (240, 320)
LOGIT_STD = 1.0


def save_classifier(name: str, path: Path, photographs: list[Path]) -> None:
    """Save the weights of a torchvision classifier, calibrated on photographs."""
    loaded = loading.load(name, "none")
    classifier = Classifier(loaded.network, loaded.facts)
    crops = [fit_crop(read_image(photo), classifier.preprocessing)[0] for photo in photographs]
    images = classifier.normalise(torch.stack(crops))
    network = classifier.network
    _set_statistics(network, images)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    features: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    with torch.no_grad():
        network(images)
        hook.remove()
        centred = features[0] - features[0].mean(0)
        generator = torch.Generator().manual_seed(0)
        last.weight.copy_(torch.randn(len(last.weight), len(images), generator=generator) @ centred)
        last.weight.mul_(LOGIT_STD / (centred @ last.weight.T).std())
        # Positive evidence in the mean image: otherwise the Grad-CAM maps of half of the classes are empty.
        mean = features[0].mean(0)
        last.weight.mul_(torch.where(last.weight @ mean < 0, -1.0, 1.0)[:, None])
        last.bias.copy_(-last.weight @ mean)
    torch.save(network.state_dict(), path)


def save_saliency(backbone: str, path: Path, photographs: list[Path], name: str = "mlnet") -> None:
    """Save a checkpoint of a saliency network, calibrated on photographs."""
    torch.manual_seed(0)
    model = build(SaliencySpec.of(name, backbone=backbone))
    predictor = SaliencyPredictor(model, SALIENCY_SIZE, normalisation=normalisation(backbone))
    images = torch.stack([resize_image(read_image(photo), SALIENCY_SIZE) for photo in photographs])
    _set_statistics(model, predictor.normalise(images))
    checkpoint.save(path, "saliency", {**predictor.metadata(), "weights": model.state_dict()})


def _set_statistics(network: nn.Module, images: Tensor) -> None:
    """Give the batch norms the statistics of a batch, and leave the network in evaluation mode."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if norms:
        momenta = [norm.momentum for norm in norms]
        network.train()
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            network(images)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    network.eval()
