import gzip
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest

from cvkit.errors import DataError
from cvkit.models.published import pretrained
from cvkit.models.published.imagenet import imagenet_ids
from cvkit.models.published.libraries import timm_names, torchvision_entries, torchvision_names
from cvkit.tasks.attribution.target_layer import list_target_layers
from cvkit.tasks.classification import names
from cvkit.tasks.classification.resolver import ClassResolver
from cvkit.tasks.classification.specification import make
from tests.test_architecture import HEAVY

ROOT = Path(__file__).resolve().parents[3]
TAGGED = ("mobilenet_v2.IMAGENET1K_V2", "resnet50.DEFAULT", "timm:resnet18.a1_in1k")
REGENERATE = "run: python docs/make_names.py"
COMPLETE_ALL = """
from cvkit.tasks.classification import names
sizes = [len(words) for words in (
    names.classifiers(), names.backbones(), names.layers("resnet50"), names.class_labels("resnet50"))]
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


def versions() -> dict[str, str]:
    """The versions of the libraries that the data file was made with."""
    found: dict[str, str] = json.loads(gzip.decompress(names.DATA.read_bytes()))["versions"]
    return found


def test_completion_imports_no_large_library() -> None:
    shown = run(f"import sys\n{COMPLETE_ALL}\nprint(min(sizes) > 0, *sorted(set({HEAVY}) & set(sys.modules)))")
    assert shown.split() == ["True"]


def test_completion_takes_less_than_0_3_s() -> None:
    # Processor time, which does not depend on other processes.
    clock = "import time\nstart = time.process_time()", "print(time.process_time() - start)"
    assert float(run(f"{clock[0]}\n{COMPLETE_ALL}\n{clock[1]}")) < 0.3


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_every_classifier_of_the_libraries_is_known(library: str) -> None:
    installed = {name for name, source in pretrained.names() if source == library}
    prefix = "timm:" if library == "timm" else ""
    known = {name for name in names.classifiers() if "." not in name and name.startswith("timm:") == bool(prefix)}
    if versions()[library] == version(library):
        assert known == installed, REGENERATE
    else:  # each version adds and removes a few models
        assert len(known & installed) > 0.9 * len(installed), REGENERATE


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_every_tag_can_be_used(library: str) -> None:
    if versions()[library] != version(library):
        pytest.skip(f"the names are those of {library} {versions()[library]}")
    for name in names.classifiers():
        if name.startswith("timm:") == (library == "timm"):
            assert pretrained.facts(name).name.startswith(name)


def test_every_tag_of_torchvision_is_known() -> None:
    known = set(names.classifiers())
    for name in torchvision_names():
        assert {entry.name for entry in torchvision_entries(name)} <= known, REGENERATE


def test_names_are_distinct() -> None:
    for words in (names.classifiers(), names.backbones(), names.layers("vgg16"), names.class_labels("vgg16")):
        assert len(words) == len(set(words)) > 0


def test_backbones_are_networks_of_the_libraries_with_maps_at_several_strides() -> None:
    found = set(names.backbones())
    assert {"vgg16", "mobilenet_v2", "regnet_y_400mf", "timm:resnet18", "timm:mobilenetv3_small_100"} <= found
    assert not {"vit_b_16", "timm:vit_tiny_patch16_224", "timm:mixer_b16_224"} & found
    if versions()["timm"] == version("timm"):
        assert found <= set(torchvision_names()) | {f"timm:{name}" for name in timm_names()}


@pytest.mark.parametrize("model", ["squeezenet1_1", "densenet121", "timm:vit_tiny_patch16_224"])
def test_layers_are_those_that_gradcam_accepts(model: str) -> None:
    facts = pretrained.facts(model)
    build, shape = partial(make, facts.name, facts.num_classes), (1, 3, *facts.preprocessing.crop)
    assert names.layers(model) == [layer for layer, _, _ in list_target_layers(build, shape)], REGENERATE


def test_a_tag_does_not_change_the_layers() -> None:
    assert names.layers("mobilenet_v2.IMAGENET1K_V2") == names.layers("mobilenet_v2")
    assert "features.18" in names.layers("mobilenet_v2")


def test_nearly_every_classifier_has_layers() -> None:
    base = [name for name in names.classifiers() if "." not in name]
    assert sum(bool(names.layers(name)) for name in base) > 0.99 * len(base)


@pytest.mark.parametrize("model", ["", "no_such_model", "runs/first", "timm:", "vgg16x.IMAGENET1K_V1"])
def test_an_unknown_model_has_no_layers_and_no_labels(model: str) -> None:
    assert names.layers(model) == names.class_labels(model) == []


@pytest.mark.parametrize("model", ["resnet18", *TAGGED])
def test_each_label_of_imagenet_means_its_class(model: str) -> None:
    facts = pretrained.facts(model)
    words = names.class_labels(model)
    assert words[281] == "tabby"
    resolver = ClassResolver(facts.labels, imagenet_ids(), 1000)
    assert [resolver.find(word) for word in words] == list(range(1000))


@pytest.mark.parametrize("model", ["timm:mixer_b16_224.goog_in21k", "resnet18.no_such_tag"])
def test_classes_that_are_not_those_of_imagenet_have_no_labels(model: str) -> None:
    assert names.class_labels(model) == []


def test_a_labels_file_replaces_the_labels_of_the_model(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    lines = ("n01 tabby", "tabby, tabby cat", "crane", "crane, bird", "sofa, couch", "stool, Sofa")
    file.write_text("\n".join(lines), encoding="utf-8")
    words = names.class_labels("resnet18", str(file))
    assert words == ["n01 tabby", "tabby", "crane", "crane, bird", "sofa, couch", "stool"]
    assert [ClassResolver(lines, (), len(lines)).find(word) for word in words] == list(range(6))
    assert names.class_labels("runs/first", str(file)) == words


def test_classes_of_the_same_label_are_completed_by_id(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("class_id,label\nn02012849,crane\nn03126707,crane\nn02123045,tabby\n", encoding="utf-8")
    assert names.class_labels("", str(file)) == ["n02012849", "n03126707", "tabby"]
    file.write_text("label\ncrane\ncrane\ntabby\n", encoding="utf-8")
    assert names.class_labels("", str(file)) == ["tabby"]
    with pytest.raises(DataError, match="'crane' is the name of 2 classes"):
        ClassResolver(("crane", "crane", "tabby"), (), 3).find("crane")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"cat\n\ndog\n"])
def test_a_labels_file_that_cannot_be_read_completes_nothing(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "labels.txt"
    if content is not None:
        file.write_bytes(content)
    assert names.class_labels("resnet18", str(file)) == []
    assert names.class_labels("resnet18", str(tmp_path)) == []


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "changed": lambda data: data[:1000] + bytes(100) + data[1100:],
    "uncompressed": gzip.decompress,
    "no JSON": lambda _: gzip.compress(b"names"),
}


@pytest.mark.parametrize("damage", ["missing", *DAMAGE])
def test_a_damaged_data_file_completes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    file = tmp_path / "names.json.gz"
    if damage != "missing":
        file.write_bytes(DAMAGE[damage](names.DATA.read_bytes()))
    monkeypatch.setattr(names, "DATA", file)
    assert names.classifiers() == names.backbones() == names.layers("resnet18") == names.class_labels("resnet18") == []


def test_without_torchvision_there_are_no_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert names.class_labels("resnet18") == []


def test_the_data_file_is_small_and_in_the_package() -> None:
    assert names.DATA.stat().st_size < 500_000
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["cvkit.tasks.classification"]
    assert any(fnmatchcase(names.DATA.name, pattern) for pattern in patterns)


def test_the_data_file_contains_no_time_and_no_file_name() -> None:
    header = names.DATA.read_bytes()[:10]
    assert header[3:8] == bytes(5)  # no flags, thus no name; the time of modification is 0


def test_a_run_folder_has_the_layers_of_its_network_and_its_own_classes(tmp_path: Path) -> None:
    document = {"model": "resnet18", "resolved": {"classes": ["hot dog", "bun"]}}
    (tmp_path / "config.json").write_text(json.dumps(document))
    assert names.layers(str(tmp_path)) == names.layers("resnet18")
    assert names.class_labels(str(tmp_path)) == ["hot dog", "bun"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"model": 3, "resolved": {"classes": []}}', '{"model": "a", "resolved": 1}']
)
def test_a_folder_without_a_classifier_completes_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert names.layers(str(tmp_path)) == names.class_labels(str(tmp_path)) == []
