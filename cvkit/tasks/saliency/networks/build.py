"""Build a saliency network from its description."""

from cvkit.tasks.saliency.networks.base import SaliencyModel, SaliencySpec

__all__ = ["SaliencyModel", "SaliencySpec", "build"]


def build(spec: SaliencySpec) -> SaliencyModel:
    """Build a saliency network with random weights, in training mode.

    Raises:
        UsageError: If the backbone cannot be used.
    """
    if spec.name in ("mlnet", "mlnet-paper"):
        from cvkit.tasks.saliency.networks.mlnet import MLNet

        return MLNet(spec).train()
    from cvkit.tasks.saliency.networks.encoder_decoder import EncoderDecoder

    return EncoderDecoder(spec).train()
