"""Initialise the weights of networks."""

from torch import nn


def init_relu(module: nn.Module) -> None:
    """Set the convolutions of ``module`` for ReLU networks: He-normal weights (He et al. 2015), zero biases."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
