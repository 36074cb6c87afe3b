"""Initialise the weights of networks."""

from torch import nn


def init_relu(module: nn.Module) -> None:
    """Initialise the convolutions of ``module`` for ReLU: He-normal weights (He et al. 2015) and zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
