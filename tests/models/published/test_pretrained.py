import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from cvkit.errors import UsageError, WeightsError
from cvkit.models.fetch import file_name, hash_in
from cvkit.models.published import pretrained
from cvkit.models.published.pretrained import backbone_entry, check_name, entries, facts, identify, names


def test_a_name_without_a_tag_means_the_default() -> None:
    assert facts("vgg16").name == "vgg16.IMAGENET1K_V1"
    assert facts("mobilenet_v2").name == "mobilenet_v2.IMAGENET1K_V2"
    assert facts("timm:resnet18").name == "timm:resnet18.a1_in1k"


def test_a_tag_names_an_entry() -> None:
    assert facts("mobilenet_v2.IMAGENET1K_V1").preprocessing.resize == 256
    assert facts("mobilenet_v2.IMAGENET1K_V2").preprocessing.resize == 232
    assert facts("mobilenet_v2.DEFAULT") == facts("mobilenet_v2")
    assert facts("timm:resnet18.tv_in1k").source == "timm/resnet18.tv_in1k"


def test_a_timm_default_without_a_classifier_is_replaced_by_the_first_entry_with_one() -> None:
    assert facts("timm:vit_so400m_patch14_siglip_378").tag == "webli_ft_in1k"


def test_entries_come_with_the_default_first() -> None:
    assert [entry.tag for entry in entries("mobilenet_v2")] == ["IMAGENET1K_V2", "IMAGENET1K_V1"]
    assert entries("mobilenet_v2.IMAGENET1K_V1") == entries("mobilenet_v2")
    assert [entry.tag for entry in entries("vgg16")] == ["IMAGENET1K_V1"]
    assert entries("timm:resnet18")[0].tag == "a1_in1k"
    assert len(entries("timm:resnet18")) >= 7


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("vgg16", "vgg16.IMAGENET1K_V1"),
        ("mobilenet_v2", "mobilenet_v2.IMAGENET1K_V1"),
        ("vit_h_14", "vit_h_14.IMAGENET1K_SWAG_E2E_V1"),
        ("timm:resnet18", "timm:resnet18.a1_in1k"),
        ("timm:resnet18.tv_in1k", "timm:resnet18.tv_in1k"),
        ("timm:resnet50_clip", "timm:resnet50_clip.openai"),
        ("timm:tf_efficientnet_b0_ns", "timm:tf_efficientnet_b0.ns_jft_in1k"),
        ("timm:resnet50t", "timm:resnet50t"),
    ],
)
def test_a_backbone_starts_with_the_first_weights_of_torchvision_or_the_default_of_timm(
    name: str, published: str
) -> None:
    entry = backbone_entry(name)
    assert entry.name == published
    assert bool(entry.source) == (entry.tag is not None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18d", "torchvision has no 'resnet18d', but timm has resnet18d: write timm:resnet18d"),
        ("timm:alexnet", "timm has no 'alexnet', but torchvision has alexnet: write alexnet"),
        ("mobilnet_v2", "no classifier 'mobilnet_v2'. Did you mean 'mobilenet_v2'"),
        ("VGG16", "Did you mean 'vgg16'"),
        ("convnext_nan", "Did you mean 'timm:convnext_nano'"),
        ("timm:resnet18dd", "timm has no classifier 'resnet18dd'. Did you mean 'timm:resnet18d'"),
        ("timm:convnext_tiny_in22ft1k", "timm calls .* now: write timm:convnext_tiny.fb_in22k_ft_in1k"),
        ("basic-cn", "no classifier 'basic-cn'. Did you mean 'basic-cnn'"),
        ("qqqqq", "torchvision and timm have no classifier 'qqqqq'. Known are"),
        ("", "no classifier ''"),
        ("timm:", "no classifier ''"),
        (
            "mobilenet_v2.IMAGENET1K_V3",
            "has no weights 'IMAGENET1K_V3' with a classifier. Did you mean 'IMAGENET1K_V2'",
        ),
        ("vgg16.IMAGENET1K_FEATURES", "has no weights 'IMAGENET1K_FEATURES' with a classifier"),
        ("vgg16.xyz", "Known: IMAGENET1K_V1"),
        ("resnet18.a1_in1k", "write timm:resnet18.a1_in1k"),
        ("timm:resnet18.a1_in1", "Did you mean 'a1_in1k'"),
        ("timm:resnet50t.a1_in1k", "no pretrained weights of timm:resnet50t"),
        ("timm:resnet50t.DEFAULT", "no pretrained weights of timm:resnet50t"),
        ("timm:resnet50_clip", "none of its weights has a classifier"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(name: str, message: str) -> None:
    for find in (check_name, facts):
        with pytest.raises(UsageError, match=message) as caught:
            find(name)
        assert str(caught.value).startswith("--model")
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"^--against"):
        check_name(name, "--against")


def test_names_are_listed_by_a_pattern() -> None:
    assert names("VGG16*")[:2] == [("vgg16", "torchvision"), ("vgg16_bn", "torchvision")]
    assert ("timm:vgg16", "timm") in names("vgg16*")
    assert ("timm:legacy_seresnet18", "timm") in names("resnet18")
    assert ("timm:legacy_seresnet18", "timm") not in names("resnet18*")
    assert names("timm:resnet18*") == [("timm:resnet18", "timm"), ("timm:resnet18d", "timm")]
    assert names("resnet1[0-8]")[0] == ("resnet18", "torchvision")
    assert names("nothing like that") == []


def test_every_listed_name_has_facts() -> None:
    listed = names(None)
    libraries = [library for _, library in listed]
    assert libraries == sorted(libraries, reverse=True)
    assert libraries.count("torchvision") >= 80
    assert libraries.count("timm") > 1000
    for name, _ in listed:
        assert facts(name).num_classes >= 1000


def test_the_hash_and_the_name_of_a_file_are_read_from_its_url() -> None:
    url = "https://download.pytorch.org/models/mnasnet0.5_top1_67.823-3ffadce67e.pth?download=1"
    assert file_name(url) == "mnasnet0.5_top1_67.823-3ffadce67e.pth"
    assert hash_in(url) == "3ffadce67e"
    assert (
        hash_in("https://dl.fbaipublicfiles.com/ijepa/IN1K-vit.h.14-300e.pth.tar") is None
    )  # a number of epochs, not a hash
    assert hash_in("model.safetensors") is None
    assert hash_in("") is None


def weights_file(folder: Path, name: str, content: bytes = b"weights") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return content, and set the hash in the name of the V1 file of mobilenet_v2 to that of the content."""
    content = b"the tensors of V1"
    digest = hashlib.sha256(content).hexdigest()[:8]
    second, first = (entry for entry in entries("mobilenet_v2"))
    entry = replace(first, source=f"https://example.org/mobilenet_v2-{digest}.pth")
    monkeypatch.setattr(pretrained, "torchvision_entries", lambda _name: (second, entry))
    return content


def test_a_file_of_any_name_is_identified_by_its_hash(tmp_path: Path, hashed: bytes) -> None:
    entry, known = identify("mobilenet_v2", weights_file(tmp_path, "mobilenet_v2-7ebf99e0.pth", hashed))
    assert (entry.tag, known) == ("IMAGENET1K_V1", True)


def test_a_file_of_another_entry_than_the_tag_is_refused(tmp_path: Path, hashed: bytes) -> None:
    path = weights_file(tmp_path, "a.pth", hashed)
    assert identify("mobilenet_v2.IMAGENET1K_V1", path)[1]
    with pytest.raises(UsageError, match=r"holds the weights of another tag; use --model mobilenet_v2\.IMAGENET1K_V1"):
        identify("mobilenet_v2.IMAGENET1K_V2", path)


@pytest.mark.parametrize(
    ("model", "name", "tag"),
    [
        ("mobilenet_v2", "mobilenet_v2-7ebf99e0.pth", "IMAGENET1K_V2"),
        ("mobilenet_v2", "mobilenet_v2-b0353104.pth", "IMAGENET1K_V1"),
        ("mobilenet_v2", "mobilenet_v2.IMAGENET1K_V2.pth", "IMAGENET1K_V2"),
        ("timm:resnet18", "resnet18.gluon_in1k.safetensors", "gluon_in1k"),
        ("timm:resnet18", "resnet18.gluon_in1k/model.safetensors", "gluon_in1k"),
        ("timm:resnet18", "models--timm--resnet18.a2_in1k/snapshots/12/pytorch_model.bin", "a2_in1k"),
        ("timm:gcvit_xxtiny", "gcvit_xxtiny_224_nvidia-d1d86009.pth", "in1k"),
    ],
)
def test_a_file_is_identified_by_its_name_or_folder(tmp_path: Path, model: str, name: str, tag: str) -> None:
    entry, known = identify(model, weights_file(tmp_path, name))
    assert (entry.tag, known) == (tag, True)


@pytest.mark.parametrize(
    ("model", "tag"),
    [
        ("mobilenet_v2", "IMAGENET1K_V1"),
        ("vit_h_14", "IMAGENET1K_SWAG_E2E_V1"),
        ("timm:resnet18", "a1_in1k"),
        ("timm:resnet50t", None),
    ],
)
def test_an_unknown_file_is_treated_as_the_default_weights(tmp_path: Path, model: str, tag: str | None) -> None:
    entry, known = identify(model, weights_file(tmp_path, "mine.pth"))
    assert (entry.tag, known) == (tag, False)


def test_a_tag_identifies_an_unknown_file(tmp_path: Path) -> None:
    entry, known = identify("mobilenet_v2.IMAGENET1K_V2", weights_file(tmp_path, "mine.pth"))
    assert (entry.tag, known) == ("IMAGENET1K_V2", True)


def test_a_missing_file_is_a_weights_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="There is no weights file"):
        identify("timm:resnet18", tmp_path / "none.pth")


@pytest.mark.shared
def test_published_weights_that_were_saved_again_are_not_identified(shared: Path) -> None:
    entry, known = identify("mobilenet_v2", shared / "data/weights/mobilenet_v2-torchvision.pth")
    assert (entry.tag, known) == ("IMAGENET1K_V1", False)
