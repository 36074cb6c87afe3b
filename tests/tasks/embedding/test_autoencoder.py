"""Test the autoencoder: shapes at every layer, and the symmetry of encoder and decoder."""

import pytest
import torch
from torch import nn

from cvkit.errors import WeightsError
from cvkit.tasks.embedding.autoencoder import AutoencoderSpec, build
from cvkit.tasks.embedding.embedder import Embedder


@pytest.mark.parametrize("size", [(28, 28), (1, 1), (7, 13), (33, 5), (32, 32), (64, 48)])
@pytest.mark.parametrize("widths", [(4, 8, 16), (3,), (2, 3, 4, 5, 6)])
def test_the_output_has_the_size_of_the_input(size: tuple[int, int], widths: tuple[int, ...]) -> None:
    spec = AutoencoderSpec(size=size, channels=3, latent_dim=5, widths=widths)
    model = build(spec).eval()
    images = torch.rand(2, 3, *size)
    codes, made = model.encode(images), model(images)
    assert codes.shape == (2, 5) and made.shape == images.shape
    assert made.min() >= 0 and made.max() <= 1
    assert torch.equal(made, model(images, logits=True).sigmoid())
    assert torch.equal(model.decode(codes), made)


def test_the_encoder_and_the_decoder_of_the_default_network_are_symmetric() -> None:
    model = build(AutoencoderSpec(size=(28, 28)))
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_modules():
        if name.count("."):
            module.register_forward_hook(
                lambda _, __, output, name=name: shapes.__setitem__(name, tuple(output.shape[1:]))
            )
    model(torch.rand(1, 1, 28, 28))
    pooled = {name: shape for name, shape in shapes.items() if name.startswith("encoder.pool")}
    assert pooled == {
        "encoder.pool1": (32, 14, 14),
        "encoder.pool2": (64, 7, 7),
        "encoder.pool3": (128, 4, 4),
    }
    assert shapes["encoder.code"] == (2,) and shapes["decoder.dense"] == (2048,)
    for number in (
        1,
        2,
        3,
    ):  # the first convolution of the decoder has the size and the filters of the last pooling of the encoder
        assert shapes[f"decoder.conv{number}"] == shapes[f"encoder.pool{number}"]
        assert shapes[f"decoder.upsample{number}"] == shapes[f"encoder.conv{number}"]
    assert shapes["decoder.output"] == (1, 28, 28)
    # 32 * 9 + 32, 64 * 32 * 9 + 64 ...: computed by hand.
    assert sum(p.numel() for p in model.encoder.parameters()) == 320 + 18_496 + 73_856 + 4_098
    assert sum(p.numel() for p in model.decoder.parameters()) == 6_144 + 147_584 + 73_792 + 18_464 + 289


def test_every_convolution_has_batch_norm_and_dropout() -> None:
    model = build(AutoencoderSpec(size=(8, 8), widths=(4, 8), batch_norm=True, dropout=0.3))
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(nn.BatchNorm2d) == kinds.count(nn.Dropout) == 4
    plain = build(AutoencoderSpec(size=(8, 8), widths=(4, 8)))
    assert not any(isinstance(module, nn.BatchNorm2d | nn.Dropout) for module in plain.modules())


def test_a_spec_is_restored_from_plain_values() -> None:
    spec = AutoencoderSpec(size=(9, 7), channels=3, latent_dim=4, widths=(2, 3), batch_norm=True, dropout=0.1)
    assert AutoencoderSpec.from_dict(spec.as_dict()) == spec
    with pytest.raises(WeightsError, match="does not describe an autoencoder"):
        AutoencoderSpec.from_dict({"name": "mlnet"})


def embedder(noise: float = 0.0) -> Embedder:
    torch.manual_seed(0)
    return Embedder(build(AutoencoderSpec(size=(12, 10), widths=(4, 8))), noise_sigma=noise)


def test_an_embedder_is_rebuilt_from_its_metadata_and_weights() -> None:
    one = embedder(0.5)
    other = Embedder.from_metadata({**one.metadata(), "weights": one.model.state_dict()})
    images = torch.randint(0, 256, (5, 1, 12, 10), dtype=torch.uint8)
    assert torch.equal(torch.cat(list(one.codes(images))), torch.cat(list(other.codes(images))))
    assert other.noise_sigma == 0.5 and other.spec == one.spec
    with pytest.raises(WeightsError, match="do not fit"):
        Embedder.from_metadata({**one.metadata(), "weights": {}})


def test_codes_are_computed_in_blocks_in_evaluation_mode_and_the_mode_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = embedder()
    images = torch.randint(0, 256, (5, 1, 12, 10), dtype=torch.uint8)
    whole = torch.cat(list(one.codes(images)))
    monkeypatch.setattr("cvkit.tasks.embedding.embedder.BLOCK_VALUES", 2 * 8 * 12 * 10)
    assert one.block == 2
    blocks = list(one.codes(images))
    assert [len(block) for block in blocks] == [2, 2, 1]
    assert torch.allclose(torch.cat(blocks), whole, atol=1e-6)
    assert one.model.training
    assert torch.allclose(one.decode(whole), one.reconstruct(one.pixels(images)), atol=1e-6)
    assert torch.equal(one.pixels(images), images.float() / 255)
