"""Test that a classifier computes float32 logits of uint8 images as torchvision does."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cvkit.catalog import Pretrained
from cvkit.models.published.pretrained import facts
from cvkit.tasks.classification.classifier import Classifier
from cvkit.tasks.classification.loading import load

SMALL = "squeezenet1_1"


def classifier(entry: Pretrained | None = None, **settings: torch.dtype) -> Classifier:
    return Classifier(load(SMALL, "none").network, entry or facts(SMALL), **settings)


def images(count: int = 2, side: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", [SMALL, "timm:vit_tiny_patch16_224"])
def test_images_are_normalised_as_torchvision_does(name: str) -> None:
    from torchvision.transforms import functional as F

    preprocessing = facts(name).preprocessing
    every = torch.arange(256, dtype=torch.uint8).expand(1, 3, 16, 256)
    theirs = F.normalize(F.convert_image_dtype(every, torch.float32), list(preprocessing.mean), list(preprocessing.std))
    ours = classifier(facts(name)).normalise(every)
    assert ours.dtype == torch.float32
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-6)


def test_the_logits_are_those_of_the_network() -> None:
    network = classifier()
    assert not network.network.training
    assert not any(parameter.requires_grad for parameter in network.network.parameters())
    preprocessing = network.preprocessing
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    usual = load(SMALL, "none").network.eval()
    with torch.inference_mode():
        expected = usual((images() / 255 - mean) / std)
    found = network.logits(images())
    assert found.shape == (2, 1000)
    assert torch.allclose(found, expected, atol=1e-5)


def test_logits_are_float32_in_every_precision() -> None:
    exact = classifier().logits(images())
    rough = classifier(dtype=torch.bfloat16).logits(images())
    assert exact.dtype == rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    assert torch.allclose(exact, rough, atol=0.05 * float(exact.abs().max()))


def test_classes_have_names_if_the_labels_are_known() -> None:
    assert classifier().name_class(281) == {"class_index": 281, "class_id": "n02123045", "label": "tabby"}
    unnamed = classifier(replace(facts(SMALL), labels=(), class_ids=()))
    assert unnamed.name_class(281) == {"class_index": 281, "class_id": "", "label": ""}
    assert unnamed.label(3) == ""


@pytest.mark.shared
def test_mobilenet_predicts_as_in_torchvision_on_160_photographs(shared: Path) -> None:
    from PIL import Image
    from torchvision import models

    from cvkit.data.fit import fit_crop
    from cvkit.data.images import read_image

    folder = shared / "data/imagenet-samples"
    weights = shared / "data/weights/mobilenet_v2-torchvision.pth"
    with (folder / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    usual = models.mobilenet_v2()
    usual.load_state_dict(torch.load(weights, weights_only=True))
    usual.eval()
    transform = models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    loaded = load("mobilenet_v2", str(weights))
    ours = Classifier(loaded.network, loaded.facts)
    top1 = top5 = 0
    for start in range(0, len(rows), 4):  # small batches fit into the cache of the processor, which is twice as fast
        part = rows[start : start + 4]
        photos = [read_image(folder / row["image"]) for row in part]
        found = ours.logits(torch.stack([fit_crop(photo, ours.preprocessing)[0] for photo in photos]))
        with torch.inference_mode():
            expected = usual(torch.stack([transform(Image.fromarray(photo)) for photo in photos]))
        assert torch.allclose(found, expected, rtol=0, atol=1e-4)
        best = found.topk(5).indices
        assert torch.equal(best, expected.topk(5).indices)
        true = torch.tensor([int(row["class_index"]) for row in part])[:, None]
        top1 += int((best[:, :1] == true).sum())
        top5 += int((best == true).sum())
    assert (len(rows), top1, top5) == (160, 127, 150)
