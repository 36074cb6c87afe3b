"""Initialise the weights of networks."""

from torch import nn


def init_relu(module: nn.Module) -> None:
    """Initialise the convolutions and dense layers of ``module`` for ReLU: He-normal weights and zero biases.

    Source: He et al. 2015, arXiv 1502.01852, equation (10).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def init_glorot(module: nn.Module) -> None:
    """Initialise the convolutions and dense layers of ``module`` as Keras does: Glorot-uniform weights, zero biases.

    Source: Glorot and Bengio 2010, equation (16).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
