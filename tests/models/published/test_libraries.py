from typing import Any

import pytest

from cvkit.catalog import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from cvkit.models.published.libraries import (
    addresses,
    timm_entries,
    timm_names,
    torchvision_entries,
    torchvision_names,
)

HALF = (0.5, 0.5, 0.5)


def test_every_entry_of_torchvision_is_a_classifier_with_all_facts() -> None:
    found = [entry for name in torchvision_names() for entry in torchvision_entries(name)]
    assert len(found) > 100
    for entry in found:
        assert entry.num_classes == len(entry.labels) == len(entry.class_ids) == 1000
        assert entry.source.startswith("https://")
        assert entry.top1 is not None and 50 < entry.top1 < 90
        assert entry.file_bytes is not None and entry.file_bytes > 4e6


def test_facts_of_torchvision() -> None:
    (entry,) = torchvision_entries("vgg16")  # the weights IMAGENET1K_FEATURES have no classifier
    assert entry.name == "vgg16.IMAGENET1K_V1"
    assert entry.preprocessing == Preprocessing(resize=256, crop=(224, 224))
    assert entry.source == "https://download.pytorch.org/models/vgg16-397923af.pth"
    assert entry.top1 == 71.592
    # The file has 553,433,881 bytes; torchvision gives 527.796 MiB.
    assert entry.file_bytes == pytest.approx(553_433_881, abs=1024)
    assert (entry.labels[281], entry.class_ids[281]) == ("tabby", "n02123045")
    assert entry.licence is None
    assert torchvision_entries("vit_h_14")[0].licence == "https://github.com/facebookresearch/SWAG/blob/main/LICENSE"


@pytest.mark.parametrize(
    ("name", "index", "expected"),
    [
        ("mobilenet_v2", 0, Preprocessing(resize=232, crop=(224, 224))),
        ("mobilenet_v2", 1, Preprocessing(resize=256, crop=(224, 224))),
        ("inception_v3", 0, Preprocessing(resize=342, crop=(299, 299))),
        ("efficientnet_b0", 0, Preprocessing(resize=256, crop=(224, 224), interpolation="bicubic")),
        (
            "efficientnet_v2_l",
            0,
            Preprocessing(resize=480, crop=(480, 480), interpolation="bicubic", mean=HALF, std=HALF),
        ),
    ],
)
def test_preprocessing_of_torchvision(name: str, index: int, expected: Preprocessing) -> None:
    assert torchvision_entries(name)[index].preprocessing == expected


def test_a_torchvision_model_without_weights_has_one_entry_without_a_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.models.get_model_weights", lambda _name: ())
    (entry,) = torchvision_entries.__wrapped__("future_net")
    assert (entry.name, entry.tag, entry.labels, entry.source) == ("future_net", None, (), "")
    assert entry.preprocessing == Preprocessing(resize=256, crop=(224, 224))


def test_preprocessing_of_timm_is_that_of_its_own_transforms() -> None:
    import timm
    from timm.data import create_transform, resolve_data_config
    from torchvision.transforms import CenterCrop, Normalize, Resize

    compared: set[Preprocessing] = set()
    for entry in (entry for short in timm_names(classifiers=True) for entry in timm_entries(short)):
        preprocessing = entry.preprocessing
        if preprocessing in compared:
            continue
        compared.add(preprocessing)
        setting = timm.get_pretrained_cfg(entry.name.removeprefix("timm:"))
        steps: list[Any] = create_transform(**resolve_data_config({}, pretrained_cfg=setting.to_dict())).transforms
        resize, crop, _, normalise = steps
        assert (type(resize), type(crop), type(normalise)) == (Resize, CenterCrop, Normalize)
        size = resize.size if isinstance(resize.size, int) else tuple(resize.size)
        assert (preprocessing.resize, preprocessing.crop, preprocessing.interpolation) == (
            size,
            tuple(crop.size),
            resize.interpolation.value,
        )
        assert resize.antialias
        assert preprocessing.mean == pytest.approx(normalise.mean.tolist(), abs=1e-6)
        assert preprocessing.std == pytest.approx(normalise.std.tolist(), abs=1e-6)
    assert len(compared) > 50


def test_facts_of_timm() -> None:
    entry = timm_entries("resnet18")[0]
    assert entry.name == "timm:resnet18.a1_in1k"
    # 224 / 0.95 = 235.8; not the 288 that timm can test with
    expected = Preprocessing(resize=235, crop=(224, 224), interpolation="bicubic", mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert entry.preprocessing == expected
    assert entry.source == "timm/resnet18.a1_in1k"
    assert (entry.file_bytes, entry.top1) == (None, None)
    assert (entry.labels[281], entry.class_ids[281]) == ("tabby", "n02123045")
    assert {entry.tag for entry in timm_entries("resnet18")} >= {"a1_in1k", "tv_in1k", "gluon_in1k"}


def test_timm_models_that_squash_the_image_are_resized_to_height_and_width() -> None:
    (entry,) = (entry for entry in timm_entries("convnext_base") if entry.tag == "fb_in22k_ft_in1k_384")
    assert (entry.preprocessing.resize, entry.preprocessing.crop) == ((384, 384), (384, 384))
    preprocessing = timm_entries("dm_nfnet_f0")[0].preprocessing
    assert (preprocessing.resize, preprocessing.crop) == ((213, 213), (192, 192))  # 192 / 0.9 = 213.3


@pytest.mark.parametrize(
    ("short", "tag", "classes", "first"),
    [
        ("convnext_tiny", "fb_in22k", 21841, ("organism", "n00004475")),
        ("vit_tiny_patch16_224", "augreg_in21k", 21843, ("organism", "n00004475")),
        ("convnext_nano", "in12k", 11821, ("benthos", "n00005787")),
        ("convnext_tiny", "fb_in22k_ft_in1k_384", 1000, ("tench", "n01440764")),
    ],
)
def test_labels_of_the_larger_imagenets(short: str, tag: str, classes: int, first: tuple[str, str]) -> None:
    (entry,) = (entry for entry in timm_entries(short) if entry.tag == tag)
    assert entry.num_classes == len(entry.labels) == len(entry.class_ids) == classes
    assert (entry.labels[0], entry.class_ids[0]) == first


def test_labels_of_other_classes_are_not_guessed() -> None:
    assert timm_entries("mvitv2_base_cls")[0].labels == ()  # 19168 classes, for which timm has no list of labels


def test_a_timm_model_without_weights_has_one_entry_without_a_tag() -> None:
    (entry,) = timm_entries("resnet50t")
    assert (entry.name, entry.tag, entry.labels, entry.source) == ("timm:resnet50t", None, (), "")
    assert entry.num_classes == 1000


@pytest.mark.parametrize("short", ["resnet50_clip", "vit_small_patch14_dinov2", "vit_base_patch32_clip_quickgelu_224"])
def test_feature_extractors_and_embeddings_are_not_classifiers(short: str) -> None:
    assert short in timm_names()
    assert short not in timm_names(classifiers=True)
    assert timm_entries(short) == ()


def test_an_embedding_and_a_classifier_of_one_model_are_distinguished() -> None:
    tags = {entry.tag for entry in timm_entries("convnext_base")}
    assert "clip_laion2b_augreg_ft_in1k" in tags
    assert "clip_laion2b_augreg" not in tags  # an embedding of 640 numbers


def test_a_model_with_weights_has_no_entry_without_weights() -> None:
    for short in timm_names(classifiers=True):
        found = timm_entries(short)
        assert len(found) == 1 or all(entry.tag and entry.source for entry in found)


def test_an_entry_on_the_hub_may_have_an_older_address() -> None:
    (entry,) = (entry for entry in timm_entries("resnet18") if entry.tag == "tv_in1k")
    (url,) = addresses(entry)
    assert url.startswith("https://download.pytorch.org/models/resnet18-")
    assert addresses(torchvision_entries("vgg16")[0])[0].endswith("vgg16-397923af.pth")
    assert addresses(timm_entries("resnet50t")[0]) == []


def test_an_entry_that_is_not_on_the_hub_has_a_url() -> None:
    assert timm_entries("gcvit_xxtiny")[0].source.endswith("/gcvit_xxtiny_224_nvidia-d1d86009.pth")
