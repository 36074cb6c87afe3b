"""Compare the CAM methods with pytorch-grad-cam: real weights and photographs, and random weights."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvkit.catalog import TargetLayer
from cvkit.models.scaling import min_max
from cvkit.tasks.attribution import Explainer
from cvkit.tasks.attribution.capture import to_grid
from cvkit.tasks.attribution.target_layer import default_target
from cvkit.tasks.classification import loading, specification

from .conftest import load_shared, photographs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_grad_cam as reference
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

METHODS: dict[str, Callable[..., "reference.base_cam.BaseCAM"]] = {
    "gradcam": reference.GradCAM,
    "gradcam++": reference.GradCAMPlusPlus,
    "hirescam": reference.HiResCAM,
    "xgradcam": reference.XGradCAM,
    "layercam": reference.LayerCAM,
    "eigencam": reference.EigenCAM,
    "scorecam": reference.ScoreCAM,
}
FAST = [name for name in METHODS if name != "scorecam"]
ARCHITECTURES = ("vgg16", "resnet50", "convnext_tiny", "vit_b_16", "swin_t")


def difference(network: nn.Module, target: TargetLayer, method: str, images: Tensor, classes: int = 2) -> float:
    """Return the largest difference between the maps of cvkit and of the reference, at the size of the images."""
    ours = Explainer(network, target, method=method)(images, lambda logits: logits.topk(classes).indices)
    maps = min_max(F.interpolate(ours.maps, size=images.shape[2:], mode="bilinear", align_corners=False))
    layer = network.requires_grad_(True).get_submodule(target.name)  # the reference needs gradients of all parameters
    theirs = []
    for position in range(classes):
        with METHODS[method](network, [layer], reshape_transform=lambda values: to_grid(values, target)) as cam:
            wanted = [ClassifierOutputTarget(index) for index in ours.classes[:, position].tolist()]
            theirs.append(torch.from_numpy(np.ascontiguousarray(cam(images.clone(), wanted))))
    assert (maps.amax((2, 3)) > 0.99).all()  # the maps are not all zero
    return (maps - torch.stack(theirs, 1)).abs().max().item()


@pytest.mark.shared
@pytest.mark.parametrize("method", FAST)
@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_0"])
def test_maps_equal_the_reference_with_real_weights_on_real_photographs(shared: Path, name: str, method: str) -> None:
    classifier = load_shared(shared, name)
    target = default_target(specification.blueprint(name), (1, 3, 224, 224), 1000)
    assert difference(classifier.network, target, method, photographs(shared, classifier, more=8)) < 1e-4


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_0"])
def test_scorecam_equals_the_reference_with_real_weights_on_real_photographs(shared: Path, name: str) -> None:
    classifier = load_shared(shared, name)
    target = default_target(specification.blueprint(name), (1, 3, 224, 224), 1000)
    assert difference(classifier.network, target, "scorecam", photographs(shared, classifier), 1) < 1e-4


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> tuple[nn.Module, TargetLayer]:
    """Return a network of one architecture with seeded random weights, and its target layer."""
    name = request.param
    target = default_target(specification.blueprint(name), (1, 3, 224, 224), 1000)
    network = loading.load(name, "none").network.eval()
    if name == "vit_b_16":  # torchvision initialises its head with zeros, so that no logit would depend on the image
        nn.init.normal_(network.heads.head.weight, std=0.05, generator=torch.Generator().manual_seed(0))
    return network, target


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """Return a photograph of scikit-image, (1, 3, 224, 224)."""
    from skimage import data

    image = torch.from_numpy(data.astronaut()[144:368, 100:324].copy()).permute(2, 0, 1)[None] / 255
    return (image - 0.45) / 0.225


@pytest.mark.parametrize("method", FAST)
def test_maps_equal_the_reference_on_common_architectures(
    architecture: tuple[nn.Module, TargetLayer], photo: Tensor, method: str
) -> None:
    network, target = architecture
    assert difference(network, target, method, photo, 1) < 1e-4


@pytest.mark.slow
def test_scorecam_equals_the_reference_on_common_architectures(
    architecture: tuple[nn.Module, TargetLayer], photo: Tensor
) -> None:
    network, target = architecture
    assert difference(network, target, "scorecam", photo, 1) < 1e-4


def test_scorecam_equals_the_reference_on_a_small_network(photo: Tensor) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=3), nn.ReLU(), nn.Conv2d(8, 12, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(48, 10),
    ).eval()  # fmt: skip
    images = torch.cat([photo[:, :, :96, :80], photo[:, :, 100:196, 60:140]])
    assert difference(network, TargetLayer(name="3"), "scorecam", images, 2) < 1e-4
