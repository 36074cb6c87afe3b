"""``cvkit export``: files that run elsewhere, and the commands that take them."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from cvkit.commands.export import measuring
from cvkit.engine.stop import StopSignal
from cvkit.models.exported.network import ExportedNetwork
from cvkit.models.exported.reading import read_facts

from .conftest import Run

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NET = "timm:resnet10t"
SIZE = (176, 176)
WAYS = ("own", "theirs")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for number in range(4):
        coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((150 + 20 * number, 130), Image.Resampling.BICUBIC).save(
            folder / f"{number}.png"
        )
    return folder


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that exports a small classifier with random weights, once for each set of options."""
    from cvkit.commands.export import export
    from cvkit.config import ExportConfig

    folder = tmp_path_factory.mktemp("exported")

    def make(format: str = "onnx", **options: object) -> Path:
        name = "-".join(f"{option}-{value}" for option, value in options.items()) or "plain"
        suffix = {"openvino": "xml"}.get(format, format)
        path = folder / f"{''.join(letter for letter in name if letter.isalnum() or letter == '-')}.{suffix}"
        if not path.exists():
            export(ExportConfig(model=NET, weights="none", format=format, out=str(path), **options))  # type: ignore[arg-type]
        return path

    return make


def network() -> torch.nn.Module:
    from cvkit.tasks.classification import loading

    return loading.load(NET, "none").network.eval()


def pixels(count: int) -> torch.Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(count))


def test_onnx_says_what_the_network_says_for_any_batch(classifier: Callable[..., Path]) -> None:
    path = classifier()
    session = onnxruntime.InferenceSession(str(path))
    assert [(given.name, given.shape) for given in session.get_inputs()] == [("images", ["batch", 3, *SIZE])]
    assert [(given.name, given.shape) for given in session.get_outputs()] == [("logits", ["batch", 1000])]
    for count in (1, 2, 5):
        with torch.inference_mode():
            expected = network()(pixels(count)).numpy()
        (found,) = session.run(None, {"images": pixels(count).numpy()})
        assert np.abs(found - expected).max() < 1e-5 * max(1, np.abs(expected).max())


def test_pt2_loads_in_torch_alone(classifier: Callable[..., Path]) -> None:
    program = torch.export.load(classifier("pt2"))
    with torch.inference_mode():
        (found,) = program.module()(pixels(3))
        assert torch.allclose(found, network()(pixels(3)), atol=1e-6)


def test_safetensors_rebuilds_the_network(classifier: Callable[..., Path]) -> None:
    from cvkit.tasks.registry import rebuild

    path = classifier("safetensors")
    with torch.inference_mode():
        assert torch.equal(rebuild(path)(pixels(2)), network()(pixels(2)))


def test_the_report_and_the_facts(classifier: Callable[..., Path], run: Run) -> None:
    path = classifier()
    report = json.loads(path.with_name(f"{path.name}.export.json").read_text())
    assert [check["batch"] for check in report["checks"]] == [1, 3]
    assert all(check["absolute"] < 1e-5 and check["agreement"] == 1 for check in report["checks"])
    assert report["bytes"] == path.stat().st_size
    facts = json.loads(run("export", "--inspect", path, "--json").out)
    assert facts["kind"] == "classifier" and facts["model"] == NET and facts["size"] == list(SIZE)
    assert len(facts["labels"]) == 1000 and facts["dynamic"] == ["batch"] and facts["weights_sha256"] == ""
    told = run("export", "--inspect", classifier("pt2"))
    assert "kind: classifier" in told.out and "labels: 1000: tench" in told.out
    for kind in ("pt2", "safetensors"):
        assert read_facts(classifier(kind)).spec == facts["spec"]


def test_bytes_in_and_top_classes_out(classifier: Callable[..., Path]) -> None:
    from cvkit.tasks.classification import loading
    from cvkit.tasks.classification.classifier import Classifier

    loaded = loading.load(NET, "none")
    images = torch.randint(0, 256, (3, 3, *SIZE), dtype=torch.uint8)
    probabilities, classes = Classifier(loaded.network, loaded.facts).logits(images).softmax(1).topk(4)
    for layout in ("nchw", "nhwc"):
        options = {"layout": layout, "include_preprocessing": True, "include_postprocessing": True, "top": 4}
        session = onnxruntime.InferenceSession(str(classifier(**options)))
        given = images.numpy() if layout == "nchw" else images.permute(0, 2, 3, 1).numpy()
        shares, indices = session.run(None, {"images": np.ascontiguousarray(given)})
        assert np.array_equal(indices, classes.numpy()) and indices.dtype == np.int64
        assert np.abs(shares - probabilities.numpy()).max() < 1e-5


def test_the_map_in_the_graph_is_that_of_gradcam(classifier: Callable[..., Path]) -> None:
    from cvkit.tasks.attribution import Explainer
    from cvkit.tasks.attribution.target_layer import default_target
    from cvkit.tasks.classification import specification

    session = onnxruntime.InferenceSession(str(classifier(with_cam=True)))
    logits, maps = session.run(None, {"images": pixels(2).numpy()})
    target = default_target(specification.blueprint(NET, 1000), (1, 3, *SIZE), 1000)
    explained = Explainer(network(), target)(pixels(2), lambda scores: scores.argmax(1, keepdim=True))
    assert np.abs(maps - explained.maps[:, 0].numpy()).max() < 1e-3
    assert np.abs(logits - explained.logits.numpy()).max() < 1e-5


@pytest.mark.parametrize("name", ["vgg11", "timm:vit_tiny_patch16_224", "mobilenet_v3_small"])
def test_a_map_is_refused_where_the_head_does_not_allow_it(run: Run, name: str) -> None:
    ended = run("export", name, "--weights", "none", "--with-cam", "--out", "x.onnx")
    assert ended.code == 2 and "--with-cam needs a head of global average pooling" in ended.err
    assert not list(Path().glob("x*"))


@pytest.mark.parametrize("format", ["onnx", "pt2", "openvino"])
def test_classify_takes_an_exported_file(
    run: Run, classifier: Callable[..., Path], photographs: Path, format: str
) -> None:
    assert run("classify", photographs, "--model", NET, "--weights", "none", "--out", "own", "--top", 5).code == 0
    ended = run("classify", photographs, "--model", classifier(format), "--out", "theirs", "--top", 5)
    assert ended.code == 0, ended.err
    own, theirs = (list(csv.DictReader(Path(f"{name}/results.csv").read_text().splitlines())) for name in WAYS)
    assert [row["label"] for row in own] == [row["label"] for row in theirs]
    difference = [float(a["probability"]) - float(b["probability"]) for a, b in zip(own, theirs, strict=True)]
    assert np.abs(difference).max() < 1e-5


def test_a_corrupted_export_is_caught_and_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from cvkit.models.exported import writers

    write = writers.write_onnx

    def spoil(path: Path, *args: object, **options: object) -> None:
        import onnx
        from onnx import numpy_helper

        write(path, *args, **options)  # type: ignore[arg-type]
        model = onnx.load(path)
        weights = max(model.graph.initializer, key=lambda one: np.prod(one.dims))
        values = numpy_helper.to_array(weights).copy()
        values.flat[: values.size // 100] += 0.05
        weights.CopyFrom(numpy_helper.from_array(values, weights.name))
        writers.save_onnx(path, model, args[2])  # type: ignore[arg-type]  # with the checksum of the wrong weights

    monkeypatch.setattr(writers, "write_onnx", spoil)
    ended = run("export", NET, "--weights", "none", "--out", "bad.onnx")
    assert ended.code == 1
    assert "differs from the network by" in ended.err and "nothing was written" in ended.err
    assert list(Path().iterdir()) == []


def test_a_signal_ends_it_with_nothing_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from cvkit.models.exported import writers

    write = writers.write_pt2

    def signalled(*words: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        write(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(writers, "write_pt2", signalled)
    ended = run("export", NET, "--weights", "none", "--format", "pt2", "--out", "x.pt2")
    assert ended.code == 75 and "stopped by a signal" in ended.err and list(Path().iterdir()) == []


KILLED = """
import os
from pathlib import Path
from cvkit.files import staging_folder
with staging_folder(Path("x.safetensors")) as folder:
    (folder / "x.safetensors").touch()
    os._exit(9)
"""


def test_the_folder_of_an_export_that_was_killed_is_removed(run: Run) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED]).returncode == 9
    (left,) = Path().iterdir()
    assert (left / "x.safetensors").is_file()
    assert run("export", NET, "--weights", "none", "--format", "safetensors", "--out", "x.safetensors").code == 0
    assert sorted(path.name for path in Path().iterdir()) == ["x.safetensors", "x.safetensors.export.json"]


def test_a_report_that_cannot_be_written_leaves_no_file(run: Run) -> None:
    words = ("export", NET, "--weights", "none", "--format", "safetensors")
    Path("z.safetensors.export.json").mkdir()
    ended = run(*words, "--out", "z.safetensors")
    assert ended.code == 1 and "is a folder" in ended.err and not Path("z.safetensors").exists()
    Path("y.safetensors.export.json").write_text("thesis")
    ended = run(*words, "--out", "y.safetensors")
    assert ended.code == 1 and "exists already" in ended.err and not Path("y.safetensors").exists()
    ended = run(*words, "--out", "new/sub/x.safetensors", "--precision", "fp16", "--rtol", 1e-12)
    assert ended.code == 1 and "nothing was written" in ended.err and not Path("new").exists()
    assert run(*words, "--out", "new/sub/x.safetensors").code == 0
    assert sorted(path.name for path in Path("new/sub").iterdir()) == ["x.safetensors", "x.safetensors.export.json"]
    first = Path("new/sub/x.safetensors").read_bytes()
    assert run(*words, "--out", "new/sub/x.safetensors", "--overwrite").code == 0
    assert Path("new/sub/x.safetensors").read_bytes() == first


def test_names_of_classes_may_hold_anything(run: Run) -> None:
    from safetensors.torch import save_file

    from cvkit.tasks.classification import specification

    labels = ["a<b>&\"c'", "\ufffe", "猫", "tab\tbed"]
    Path("labels.json").write_text(json.dumps(labels))
    save_file(specification.make(NET, 4).state_dict(), "four.safetensors")
    words = ("--weights", "four.safetensors", "--labels", "labels.json", "--format", "openvino", "--out", "x.xml")
    ended = run("export", NET, *words)
    assert ended.code == 0, ended.err
    assert list(read_facts(Path("x.xml")).labels) == labels


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": []},
        {"spec": {}},
        {"spec": None},
        {"preprocessing": {"a": 1}},
        {"preprocessing": "abc"},
        {"preprocessing": None},
        {"model": 5},
        {"labels": ["one", "two"]},
        {"input": "words"},
        {"precision": "fp8"},
        {"size": [1]},
        {"mean": [0.5]},
        {"dynamic": ["depth"]},
    ],
    ids=str,
)
def test_what_a_file_says_of_itself_is_looked_at(
    run: Run, classifier: Callable[..., Path], photographs: Path, change: dict
) -> None:
    import onnx

    model = onnx.load(classifier())
    facts = json.loads(next(entry.value for entry in model.metadata_props if entry.key == "cvkit")) | change
    onnx.helper.set_model_props(model, {"cvkit": json.dumps(facts)})
    onnx.save(model, "odd.onnx")
    ended = run("classify", photographs, "--model", "odd.onnx", "--out", "o")
    assert ended.code == 1 and "odd.onnx: its metadata cannot be read" in ended.err
    assert ended.err.count("\n") == 1


def test_a_network_of_zeros_is_said_to_prove_little(run: Run) -> None:
    from safetensors.torch import save_file

    zeros = {name: torch.zeros_like(value) for name, value in network().state_dict().items()}
    save_file(zeros, "zeros.safetensors")
    ended = run("export", NET, "--weights", "zeros.safetensors", "--format", "pt2", "--out", "x.pt2")
    assert ended.code == 0 and "returns zeros for every image" in ended.err


def test_what_is_not_dynamic_is_fixed_and_still_serves(classifier: Callable[..., Path]) -> None:
    path = classifier(dynamic=())
    assert onnxruntime.InferenceSession(str(path)).get_inputs()[0].shape == [1, 3, *SIZE]
    with torch.inference_mode():
        assert torch.allclose(ExportedNetwork(path)(pixels(3)), network()(pixels(3)), atol=1e-5)


def test_half_precision_halves_the_file(classifier: Callable[..., Path]) -> None:
    path = classifier(precision="fp16")
    assert path.stat().st_size < 0.55 * classifier().stat().st_size
    assert read_facts(path).precision == "fp16"


def test_openvino_is_two_files_that_come_and_go_together(
    classifier: Callable[..., Path], run: Run, photographs: Path
) -> None:
    path = classifier("openvino")
    assert path.suffix == ".xml" and path.with_suffix(".bin").is_file()
    assert not list(path.parent.glob(".cvkit-*"))
    assert read_facts(path).model == NET and len(read_facts(path).labels) == 1000
    report = json.loads(path.with_name(f"{path.name}.export.json").read_text())
    assert report["bytes"] == path.stat().st_size + path.with_suffix(".bin").stat().st_size
    with torch.inference_mode():
        assert torch.allclose(ExportedNetwork(path)(pixels(3)), network()(pixels(3)), atol=1e-5)
    shutil.copy(path, "alone.xml")
    for damage, said in (
        (None, "alone.bin, is not beside it"),
        (b"short", "alone.xml: damaged: its weights do not match their checksum"),
    ):
        if damage is not None:
            Path("alone.bin").write_bytes(damage)
        ended = run("classify", photographs, "--model", "alone.xml", "--out", "o")
        assert ended.code == 1 and said in ended.err and ended.err.count("\n") == 1
    for _ in range(2):  # a signal after several files have been opened and let go does not end the process
        ExportedNetwork(path)(pixels(1))
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.requested
    Path("mine.bin").write_bytes(b"thesis")
    ended = run("export", NET, "--weights", "none", "--format", "openvino", "--out", "mine.xml")
    assert ended.code == 1 and "mine.bin exists already" in ended.err


def test_whole_numbers_quarter_the_file_and_stay_near(
    classifier: Callable[..., Path], photographs: Path, run: Run
) -> None:
    path = classifier(quantize="int8", calibrate=str(photographs))
    assert path.stat().st_size < 0.3 * classifier().stat().st_size
    facts = read_facts(path)
    assert facts.precision == "int8" and facts.dynamic == ("batch",)
    report = json.loads(path.with_name(f"{path.name}.export.json").read_text())
    assert [check["batch"] for check in report["checks"]] == [1, 3, 32] and report["atol"] is None
    assert 1e-4 < max(check["relative"] for check in report["checks"]) <= report["rtol"] == 0.25
    import onnx

    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds
    assert run("classify", photographs, "--model", path, "--out", "theirs").code == 0
    words = ("--quantize", "int8", "--calibrate", photographs)
    ended = run("export", NET, "--weights", "none", *words, "--rtol", 1e-4, "--out", "near.onnx")
    assert (
        ended.code == 1
        and "--rtol 0.0001 are allowed; nothing was written" in ended.err
        and not list(Path().glob("*near*"))
    )


def test_bytes_in_and_a_map_out_in_whole_numbers(run: Run, trained: Path, photographs: Path) -> None:
    words = ("--include-preprocessing", "--layout", "nhwc", "--include-postprocessing", "--dynamic", "batch")
    ended = run("export", trained, *words, "--quantize", "int8", "--calibrate", photographs, "--out", "m.onnx")
    assert ended.code == 0, ended.err
    (given,) = onnxruntime.InferenceSession("m.onnx").get_inputs()
    assert given.type == "tensor(uint8)" and given.shape[1:] == [64, 96, 3]


def test_other_image_sizes_where_they_are_left_open(run: Run, trained: Path) -> None:
    words = ("--dynamic", "batch,height,width", "--include-postprocessing", "--opset", 20, "--simplify")
    ended = run("export", trained, *words, "--out", "m.onnx", "--json")
    assert ended.code == 0, ended.err
    assert [(c["batch"], c["height"], c["width"]) for c in json.loads(ended.out)["checks"]] == [
        (1, 64, 96),
        (3, 64, 96),
        (1, 96, 160),
        (3, 96, 160),
    ]
    import onnx

    assert {one.version for one in onnx.load("m.onnx").opset_import if not one.domain} == {20}
    (maps,) = onnxruntime.InferenceSession("m.onnx").run(None, {"images": np.zeros((2, 3, 128, 96), "f4")})
    assert maps.shape == (2, 1, 128, 96)


@pytest.mark.parametrize("compiles", [True, False])
def test_a_benchmark_beside_pytorch(
    run: Run, photographs: Path, monkeypatch: pytest.MonkeyPatch, compiles: bool
) -> None:
    def instead(graph: torch.nn.Module, dynamic: bool) -> Callable[..., object]:
        def broken(*_: object) -> object:
            raise RuntimeError("no compiler\nat all")

        assert dynamic is False
        return graph if compiles else broken  # compiling in earnest takes half a minute

    monkeypatch.setattr(torch, "compile", instead)
    monkeypatch.setattr(measuring, "SECONDS", 0.1)
    monkeypatch.setattr(measuring, "ROUNDS", 1)
    Path("truth.csv").write_text("image,class_index\n" + "".join(f"{n}.png,{n}\n" for n in range(3)))
    words = ("--benchmark", "--calibrate", photographs, "--truth", "truth.csv", *["--quantize", "int8"] * compiles)
    ended = run("export", NET, "--weights", "none", *words, "--out", "b.onnx")
    assert ended.code == 0, ended.err
    names = ["PyTorch, eager", *["PyTorch, compiled"] * compiles, "onnx, fp32", *["onnx, int8"] * compiles]
    assert all(name in ended.out for name in names) and ("no compiler" in ended.err) is not compiles
    rows = json.loads(Path("b.onnx.export.json").read_text())["benchmark"]
    assert [row["name"] for row in rows] == names
    assert rows[0]["agreement"] == 1 and all(row["cc"] is None and row["batch"] == 16 for row in rows)
    assert all(row["latency_ms"] > 0 and row["images_per_second"] > 0 for row in rows)
    assert rows[-1]["bytes"] == Path("b.onnx").stat().st_size
    assert not compiles or rows[-1]["bytes"] < rows[-2]["bytes"]
    with torch.inference_mode():
        logits = ExportedNetwork(Path("b.onnx"))(prepared(photographs))
    assert rows[-1]["accuracy"] == pytest.approx(float((logits.argmax(1)[:3] == torch.arange(3)).double().mean()))


def prepared(photographs: Path) -> torch.Tensor:
    from cvkit.data.fit import fit_crop
    from cvkit.data.images import read_image
    from cvkit.tasks.classification import loading
    from cvkit.tasks.classification.classifier import Classifier

    loaded = loading.load(NET, "none")
    ready = Classifier(loaded.network, loaded.facts)
    images = [fit_crop(read_image(path), ready.preprocessing)[0] for path in sorted(photographs.iterdir())]
    return ready.normalise(torch.stack(images))


def test_a_benchmark_of_maps_says_how_alike_they_are(run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda graph, **_: graph)
    monkeypatch.setattr(measuring, "SECONDS", 0.1)
    monkeypatch.setattr(measuring, "ROUNDS", 1)
    ended = run("export", trained, "--format", "pt2", "--benchmark", "--out", "m.pt2", "--json")
    assert ended.code == 0, ended.err
    rows = json.loads(ended.out)["benchmark"]
    assert [row["name"] for row in rows] == ["PyTorch, eager", "PyTorch, compiled", "pt2, fp32"]
    assert all(row["cc"] > 0.99999 and row["agreement"] is None for row in rows)
    refused = run("export", trained, "--benchmark", "--calibrate", trained, "--truth", "folders", "--out", "n.onnx")
    assert refused.code in (1, 2) and refused.err.count("\n") == 1


@pytest.mark.shared
def test_mobilenet_keeps_its_top_class_and_loses_little_in_whole_numbers(run: Run, shared: Path) -> None:
    data = shared / "data/imagenet-samples"
    weights = ("--weights", shared / "data/weights/mobilenet_v2-torchvision.pth")
    assert run("export", "mobilenet_v2", *weights, "--out", "m.onnx").code == 0
    words = ("--quantize", "int8", "--calibrate", data, "--out", "m8.onnx")
    assert run("export", "mobilenet_v2", *weights, *words).code == 0
    top, accuracy = {}, {}
    for name, asked in (("own", ("mobilenet_v2", *weights)), ("m", ("m.onnx",)), ("m8", ("m8.onnx",))):
        truth = ("--truth", data / "labels.csv", "--out", name)
        assert run("classify", data, "--model", *asked, *truth).code == 0
        rows = csv.DictReader(Path(f"{name}/results.csv").read_text().splitlines())
        top[name] = [row["class_index"] for row in rows if row["rank"] == "1"]
        accuracy[name] = json.loads(Path(f"{name}/accuracy.json").read_text())["top1"]["value"]
    assert len(top["own"]) == 160 and top["m"] == top["own"]
    assert accuracy["m8"] >= accuracy["own"] - 0.02


def test_a_saliency_run_becomes_a_file_that_predict_takes(
    run: Run, trained: Path, photographs: Path, fixation_data: Path
) -> None:
    assert run("predict", photographs, "--checkpoint", trained, "--out", "own", "--format", "npy").code == 0
    for words in (("--format", "onnx"), ("--format", "pt2"), ("--include-preprocessing", "--layout", "nhwc")):
        out = f"{words[-1]}.pt2" if words[-1] == "pt2" else f"{words[-1]}.onnx"
        ended = run("export", trained, *words, "--out", out)
        assert ended.code == 0, ended.err
        ended = run("predict", photographs, "--checkpoint", out, "--out", f"by-{out}", "--format", "npy")
        assert ended.code == 0, ended.err
        if out == "pt2.pt2":
            means = []
            for checkpoint in (trained, out):
                scored = run("evaluate", "--data", fixation_data, "--checkpoint", checkpoint, "--out", "e", "--json")
                means.append(next(iter(json.loads(scored.out)["scores"].values()))["cc"]["mean"])
                shutil.rmtree("e")
            assert means[0] == pytest.approx(means[1], abs=1e-4)
        for name in ("0", "3"):
            one, other = np.load(f"own/{name}.npy"), np.load(f"by-{out}/{name}.npy")
            assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9999


def test_a_map_at_the_size_of_the_input(run: Run, trained: Path) -> None:
    assert run("export", trained, "--include-postprocessing", "--out", "m.onnx").code == 0
    session = onnxruntime.InferenceSession("m.onnx")
    height, width = read_facts(Path("m.onnx")).size
    (maps,) = session.run(None, {"images": np.random.default_rng(0).normal(size=(2, 3, height, width)).astype("f4")})
    assert maps.shape == (2, 1, height, width)
    assert maps.max(axis=(1, 2, 3)) == pytest.approx(1) and maps.min() >= 0
    refused = run("predict", ".", "--checkpoint", "m.onnx", "--out", "x")
    assert refused.code == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((NET, "--format", "onx"), 2, "Did you mean 'onnx'?"),
        ((NET, "--out", "x.pt2"), 2, "must end in .onnx"),
        ((NET, "--layout", "nhwc"), 2, "of --include-preprocessing: add it"),
        ((NET, "--format", "safetensors", "--with-cam"), 2, "safetensors holds only weights"),
        ((NET, "--format", "pt2", "--simplify"), 2, "--simplify is for --format onnx"),
        ((NET, "--opset", 99), 2, "--opset 99: the installed onnx supports at most"),
        (("a" * 300,), 2, "a" * 300),
        (("a" * 300 + "/x",), 1, "no such run folder or file"),
        (("--inspect", "a" * 300 + ".onnx"), 1, "no such file"),
        ((NET, "--opset", 9), 2, "--opset must be 18 or more"),
        ((NET, "--quantize", "int4", "--calibrate", "."), 2, "--quantize 'int4' is not one of int8"),
        ((NET, "--quantize", "int8"), 2, "--calibrate DIR"),
        ((NET, "--quantize", "int8", "--calibrate", ".", "--format", "pt2"), 2, "for --format onnx"),
        ((NET, "--quantize", "int8", "--calibrate", ".", "--precision", "fp16"), 2, "leave out --precision"),
        ((NET, "--calibrate", "nowhere"), 1, "nowhere"),
        ((NET, "--rtol", 0), 2, "--rtol must be above 0"),
        ((NET, "--truth", "folders"), 2, "--truth needs --benchmark and --calibrate"),
        ((NET, "--format", "safetensors", "--benchmark"), 2, "safetensors holds only weights"),
        ((NET, "--format", "openvino", "--out", "x.onnx"), 2, "must end in .xml"),
        ((NET, "--dynamic", "depth"), 2, "--dynamic 'depth' is not one of"),
        (("resnet19",), 2, "Did you mean 'resnet18'?"),
        (("mlnet",), 2, "name the run that trained it"),
        (("runs/nowhere",), 1, "no such run folder or file"),
        ((), 2, "name a run folder, a checkpoint or a model"),
        (("--inspect", "nowhere.onnx"), 1, "nowhere.onnx: no such file"),
        (("run", "--inspect", "x.onnx"), 2, "--inspect x.onnx excludes exporting"),
        (("--inspect", "x.txt"), 1, "x.txt: no such file"),
    ],
)
def test_what_cannot_be_meant_is_one_line(run: Run, words: tuple, code: int, message: str) -> None:
    weights = ("--weights", "none") if words and words[0] == NET else ()
    ended = run("export", *words, *weights)
    assert ended.code == code and message in ended.err
    assert ended.err.count("\n") == 1 and ended.out == ""


@pytest.mark.parametrize("name", ["x.onnx", "x.pt2", "x.safetensors", "x.xml"])
def test_a_damaged_file_is_one_line(run: Run, photographs: Path, name: str) -> None:
    Path(name).write_bytes(b"no model at all")
    ended = run("export", "--inspect", name)
    assert ended.code == 1 and name in ended.err and ended.err.count("\n") == 1
    if name != "x.safetensors":
        assert run("classify", photographs, "--model", name, "--out", "o").code == 1
        assert run("predict", photographs, "--checkpoint", name, "--out", "o").code == 1


def test_a_file_of_another_kind_is_refused(run: Run, classifier: Callable[..., Path], photographs: Path) -> None:
    ended = run("predict", photographs, "--checkpoint", classifier(), "--out", "o")
    assert ended.code == 1 and "an exported classifier; this command needs a saliency network" in ended.err
    ended = run("gradcam", photographs, "--model", classifier(), "--out", "o")
    assert ended.code == 2 and "gradcam needs gradients" in ended.err


def test_a_file_that_is_there_is_kept(run: Run) -> None:
    Path("x.safetensors").write_bytes(b"thesis")
    words = ("export", NET, "--weights", "none", "--format", "safetensors", "--out", "x.safetensors")
    ended = run(*words)
    assert ended.code == 1 and "exists already" in ended.err and Path("x.safetensors").read_bytes() == b"thesis"
    assert run(*words, "--overwrite").code == 0


def test_the_examples_of_the_docs_run(classifier: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs/export.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 4
    for suffix in ("onnx", "pt2", "safetensors"):
        shutil.copy(classifier(suffix), f"model.{suffix}")
    for example in examples:
        assert "cvkit." not in example and "import cvkit" not in example
        exec(compile(example, "docs/export.md", "exec"), {})
    out = capsys.readouterr().out
    assert f"{NET} [176, 176]" in out and "torch.Size([4, 1000])" in out and "numbers" in out


def test_an_exported_encoder_embeds(run: Run) -> None:
    rng = np.random.default_rng(0)
    Path("data").mkdir()
    for number in range(60):  # six of them held out: enough for neighbours
        Image.fromarray(rng.integers(0, 256, (12, 10), dtype=np.uint8)).save(f"data/{number:02d}.png")
    small = ("--data", "data", "--widths", "4,8", "--epochs", 1, "--device", "cpu", "--out", "run")
    assert run("cae-embed", *small).code == 0
    for name, words in (("e.onnx", ()), ("e.pt2", ("--format", "pt2")), ("b.onnx", ("--include-preprocessing",))):
        assert run("export", "run", *words, "--out", name).code == 0
        ended = run("cae-embed", "--data", "data", "--checkpoint", name, "--device", "cpu", "--out", f"by-{name}")
        assert ended.code == 0, ended.err
        own, theirs = (np.genfromtxt(f"{way}/embeddings.csv", delimiter=",")[1:, 4:] for way in ("run", f"by-{name}"))
        assert np.abs(own - theirs).max() < 1e-5
        metrics = json.loads(Path(f"by-{name}/metrics.json").read_text())
        assert metrics["cae"]["bce"] is None and metrics["cae"]["trustworthiness"] > 0
        assert not Path(f"by-{name}/reconstructions.png").exists()
    assert run("export", "run", "--part", "whole", "--out", "w.onnx").code == 0
    refused = run("cae-embed", "--data", "data", "--checkpoint", "w.onnx", "--out", "x")
    assert refused.code == 1 and "an exported autoencoder; this command needs one of encoder" in refused.err


def test_an_encoder_of_bare_weights_is_exported_and_shown_like_its_run(run: Run, digits: Path) -> None:
    words = ("--widths", "4,8", "--epochs", 1, "--compare", "none", "--device", "cpu", "--out", "r")
    assert run("cae-embed", "--data", digits, *words).code == 0
    assert run("export", "r", "--format", "safetensors", "--out", "e.safetensors").code == 0
    assert run("export", "e.safetensors", "--format", "safetensors", "--out", "again.safetensors").code == 0
    one, other = (safetensors.torch.load_file(name) for name in ("e.safetensors", "again.safetensors"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert run("models", "show", "e.safetensors").code == 0
    whole = run("export", "e.safetensors", "--part", "whole", "--out", "w.onnx")
    assert whole.code == 2 and "--part whole: e.safetensors holds an encoder only" in whole.err
