"""Build a classification network of cvkit by name."""

from torch import nn

from cvkit.catalog import CLASSIFIERS
from cvkit.errors import UsageError
from cvkit.messages import did_you_mean


def build(name: str, num_classes: int, size: tuple[int, int], channels: int = 3) -> nn.Module:
    """Build a classification network with random weights, in training mode.

    Args:
        name: A name of ``CLASSIFIERS``.
        num_classes: Number of classes.
        size: (height, width) of the images in pixels.
        channels: Channels of the images.

    Returns:
        A network from (N, channels, H, W) normalised images to (N, num_classes) float32 logits. Its last layer is the
        dense layer ``out``.

    Raises:
        UsageError: If there is no such network, or the images are too small for it.
    """
    facts = CLASSIFIERS.get(name)
    if facts is None:
        raise UsageError(f"There is no network '{name}' in cvkit.{did_you_mean(name, CLASSIFIERS)}")
    if min(size) < facts.min_size:
        smallest = f"{facts.min_size}x{facts.min_size}"
        raise UsageError(
            f"{name} needs images of at least {smallest} pixels, not {size[0]}x{size[1]}. Use a larger input size or "
            "another network."
        )
    if name == "basic-cnn":
        from cvkit.tasks.classification.networks.basic_cnn import BasicCNN

        return BasicCNN(num_classes, channels, size)
    if name == "lenet5":
        from cvkit.tasks.classification.networks.lenet5 import LeNet5

        return LeNet5(num_classes, channels, size)
    if name == "alexnet-2012":
        from cvkit.tasks.classification.networks.alexnet import AlexNet2012

        return AlexNet2012(num_classes, channels, size)
    from cvkit.tasks.classification.networks.xception_mini import XceptionMini

    return XceptionMini(num_classes, channels)
