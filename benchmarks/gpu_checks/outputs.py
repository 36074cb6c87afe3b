"""Compare the outputs of the commands on the device with those on the processor."""

import csv
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from cvkit.commands.cae_embed import cae_embed
from cvkit.commands.classify import classify
from cvkit.commands.evaluate import evaluate
from cvkit.commands.export import export
from cvkit.commands.gradcam import gradcam
from cvkit.commands.predict import predict
from cvkit.config import (
    CaeEmbedConfig,
    ClassifyConfig,
    EvaluateConfig,
    ExportConfig,
    GradcamConfig,
    PredictConfig,
)
from gpu_checks.lab import Lab, attempt, make_config, tf32
from gpu_checks.networks import LOGIT_STD
from gpu_checks.report import Row

# --precision and whether TF32 is allowed, by the name of a variant. PyTorch allows TF32 in convolutions by default.
VARIANTS = {
    "fp32 without TF32": ("fp32", False),
    "TF32": ("fp32", True),
    "bf16": ("bf16", False),
    "fp16": ("fp16", False),
}
# Largest allowed differences by variant, in the order of VARIANTS. fp32 differs by the order of summation; TF32 and
# fp16 keep 10 bits of the mantissa, bf16 keeps 7. Those of bf16 are twice what a processor shows (bf16 against fp32),
# those of TF32 and fp16 a quarter of that.
TOLERANCES = {
    "classify": (1e-3, 0.06, 0.3, 0.06),  # mean of the logarithm of a probability, in standard deviations of the logits
    "gradcam": (1e-3, 5e-2, 2e-1, 5e-2),  # mean over a map from 0 to 1
    "predict": (1e-3, 3e-2, 1e-1, 3e-2),  # mean over a map from 0 to 1
    "evaluate": (1e-3, 5e-2, 2e-1, 5e-2),  # of a mean score, as a fraction of max(1, score)
    "cae-embed": (1e-4, 1e-2),  # of a code, as a fraction of the largest one
}
MEAN_OF = ("classify", "gradcam", "predict")  # single classes and pixels scatter, so the mean over an output counts
NO_CUDA_PROVIDER = "skipped: onnxruntime has no CUDA provider (pip install onnxruntime-gpu)"
CLASSES = ("1", "17", "400")
ON_CPU = {"runtime": "torch"}


def variants_of(lab: Lab, command: str) -> list[tuple[str, str, bool, float]]:
    """Return (name, precision, TF32, tolerance) of the variants that the device has."""
    rows = zip(VARIANTS.items(), TOLERANCES[command], strict=False)
    every = [(name, precision, allowed, tolerance) for (name, (precision, allowed)), tolerance in rows]
    return [each for each in every if lab.is_cuda or each[0] in ("fp32 without TF32", "bf16")]


def compare_with_cpu(lab: Lab, command: str, model: str, run: Callable[[str, str], dict[str, np.ndarray]]) -> list[Row]:
    """Compare a command in all precisions with fp32 on the processor.

    Args:
        lab: The lab.
        command: Name of the command, for the tolerances.
        model: Name of the model, for the table.
        run: Runs the command on (device, precision), and returns one array per image.
    """
    expected = lab.keep((command, model), lambda: run("cpu", "fp32"))

    def measure(precision: str, allowed: bool, tolerance: float) -> Row:
        with tf32(allowed) if lab.is_cuda else nullcontext():
            got = run(str(lab.device), precision)
        return differences(expected, got, tolerance, mean=command in MEAN_OF)

    return [
        attempt(
            lambda p=precision, t=allowed, x=tolerance: measure(p, t, x), command=command, model=model, variant=name
        )
        for name, precision, allowed, tolerance in variants_of(lab, command)
    ]


def differences(
    expected: dict[str, np.ndarray], got: dict[str, np.ndarray], tolerance: float, *, mean: bool = False
) -> Row:
    """Return the largest difference, and whether it is within the tolerance.

    Args:
        expected: Arrays by name.
        got: The same of the device.
        tolerance: Largest allowed difference.
        mean: Whether the tolerance is for the mean difference of each array, in place of the largest one.
    """
    if expected.keys() != got.keys() or not expected:
        return {"measured": f"{len(got)} outputs in place of {len(expected)}", "tolerance": tolerance, "ok": False}
    constant = sum(np.ptp(array) == 0 for array in expected.values())
    if 2 * constant > len(expected):  # a class may have an empty map, but a comparison of empty maps shows nothing
        return {"measured": f"{constant} of {len(expected)} outputs of the processor are constant", "ok": False}
    apart = {name: np.abs(np.asarray(got[name], np.float64) - expected[name]) for name in expected}
    largest = max(float(values.max()) for values in apart.values())
    measured = max(float(values.mean()) for values in apart.values()) if mean else largest
    return {"measured": measured, "largest": largest, "tolerance": tolerance, "ok": bool(measured <= tolerance)}


def check_classify(lab: Lab) -> list[Row]:
    """Compare the logarithms of the probabilities of all classes."""
    rows = []
    for model in lab.amounts.classifiers:
        weights = lab.weights(model)
        rows += compare_with_cpu(
            lab, "classify", model, lambda d, p, m=model, w=weights: log_probabilities(lab, m, w, d, p)
        )
    return rows


def log_probabilities(
    lab: Lab, model: str, weights: str | None, device: str, precision: str, **more: Any
) -> dict[str, np.ndarray]:
    """Return the logarithm of the probability of every class of each image, in standard deviations of the logits."""
    folder = lab.new_folder()
    named = {"weights": weights} if weights else {}
    classify(
        make_config(
            ClassifyConfig, inputs=lab.compared, model=model, **named, device=device, precision=precision, top=1000,
            batch_size=4, out=str(folder), optional=ON_CPU | more,
        )
    )  # fmt: skip
    return read_logs(folder, lab.compared)


def read_logs(folder: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return ``log_probabilities`` of some images of a result folder."""
    values = {name: np.zeros(1000) for name in names}
    with (folder / "results.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["image"] in values:
                values[row["image"]][int(row["class_index"])] = math.log(float(row["probability"])) / LOGIT_STD
    return values


def check_gradcam(lab: Lab) -> list[Row]:
    """Compare the maps of three fixed classes."""
    rows = []
    for model in lab.amounts.classifiers:
        weights = lab.weights(model)
        rows += compare_with_cpu(lab, "gradcam", model, lambda d, p, m=model, w=weights: cam_maps(lab, m, w, d, p))
    return rows


def cam_maps(lab: Lab, model: str, weights: str, device: str, precision: str, **more: Any) -> dict[str, np.ndarray]:
    folder = lab.new_folder()
    gradcam(
        make_config(
            GradcamConfig, inputs=lab.compared, model=model, weights=weights, device=device, precision=precision,
            classes=CLASSES, save=("npy",), batch_size=4, out=str(folder), optional=ON_CPU | more,
        )
    )  # fmt: skip
    return read_arrays(folder)


def check_predict(lab: Lab) -> list[Row]:
    """Compare the saliency maps."""
    rows = []
    for backbone in lab.amounts.backbones:
        model = lab.checkpoint(backbone)
        rows += compare_with_cpu(
            lab, "predict", f"mlnet, {backbone}", lambda d, p, m=model: saliency_maps(lab, m, d, p)
        )
    return rows


def saliency_maps(lab: Lab, model: str, device: str, precision: str, **more: Any) -> dict[str, np.ndarray]:
    folder = lab.new_folder()
    predict(
        make_config(
            PredictConfig, inputs=lab.compared, model=model, device=device, precision=precision, format="npy",
            batch_size=4, out=str(folder), optional=ON_CPU | more,
        )
    )  # fmt: skip
    return read_arrays(folder)


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Return the float maps of a result folder by name."""
    return {path.name: np.load(path) for path in sorted(folder.glob("*.npy"))}


def check_evaluate(lab: Lab) -> list[Row]:
    """Compare the mean scores of a saliency network, each divided by its own size where that exceeds 1."""
    data = lab.fixations(max(4, lab.amounts.compared), lab.amounts.compared, lab.amounts.small_size)
    model = lab.checkpoint(lab.amounts.backbones[-1])
    reference: dict[str, float] = {}

    def scores(device: str, precision: str) -> dict[str, np.ndarray]:
        config = make_config(
            EvaluateConfig, data=data, model=model, device=device, precision=precision, emd=False, optional=ON_CPU
        )
        means = {name: interval.mean for name, interval in evaluate(config).scores["model"].items()}
        reference.update({} if reference else means)
        return {"scores": np.array([value / max(1, abs(reference[name])) for name, value in means.items()])}

    return compare_with_cpu(lab, "evaluate", f"mlnet, {lab.amounts.backbones[-1]}", scores)


def check_embed(lab: Lab) -> list[Row]:
    """Train an autoencoder on the processor, and compare the codes that it gives on both devices."""
    data = lab.fixations(40, 8, (96, 96)) + "/images"
    folder = lab.new_folder()
    common = {"data": data, "compare": ("none",), "format": ("npy",)}
    cae_embed(CaeEmbedConfig(**common, epochs=2, size=(32, 32), device="cpu", out=str(folder)))

    def codes(device: str, precision: str) -> dict[str, np.ndarray]:
        del precision  # cae-embed embeds in fp32
        out = lab.new_folder()
        cae_embed(CaeEmbedConfig(**common, model=str(folder), device=device, out=str(out)))
        arrays = {path.name: np.load(path) for path in sorted(out.rglob("*.npy"))}
        largest = max(float(np.abs(array).max()) for array in arrays.values())
        return {name: array / largest for name, array in arrays.items()}

    rows = compare_with_cpu(lab, "cae-embed", "autoencoder", codes)
    return [row for row in rows if row["variant"] in ("fp32 without TF32", "TF32")]


def check_export(lab: Lab) -> list[Row]:
    """Run exported files on the device, and compare them with the network on the processor."""
    model = lab.amounts.classifiers[-1]
    weights = lab.weights(model)
    expected = lab.keep(("classify", model), lambda: log_probabilities(lab, model, weights, "cpu", "fp32"))
    tolerance = TOLERANCES["classify"][0]
    rows = []
    for kind in ("safetensors", "onnx") if lab.quick else ("safetensors", "onnx", "pt2"):
        path = lab.folder / f"{model}.{kind}"

        def measure(kind: str = kind, path: Path = path) -> Row:
            export(ExportConfig(model=model, weights=weights, format=kind, out=str(path), atol=1e-3))
            if kind == "onnx" and lab.is_cuda:
                import onnxruntime

                if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                    return {
                        "measured": NO_CUDA_PROVIDER,
                        "ok": True,
                    }
            with tf32(False) if lab.is_cuda else nullcontext():
                got = log_probabilities(lab, str(path), None, str(lab.device), "fp32")
            return differences(expected, got, tolerance, mean=True)

        rows.append(attempt(measure, command="export", model=f"{model}.{kind}", variant="fp32 without TF32"))
    return rows


def check_compiled(lab: Lab) -> list[Row]:
    """Compare the compiled networks of the inference commands with the processor."""
    lab.need_cuda()
    classifier, backbone = lab.amounts.classifiers[-1], lab.amounts.backbones[-1]
    weights, trained = lab.weights(classifier), lab.checkpoint(backbone)

    def classified(device: str, **more: Any) -> dict[str, np.ndarray]:
        return log_probabilities(lab, classifier, weights, device, "fp32", **more)

    def predicted(device: str, **more: Any) -> dict[str, np.ndarray]:
        return saliency_maps(lab, trained, device, "fp32", **more)

    def measure(command: str, model: str, run: Callable[..., dict[str, np.ndarray]]) -> Row:
        expected = lab.keep((command, model), lambda: run("cpu"))
        with tf32(False):
            return differences(expected, run(str(lab.device), compile=True), 1e-2, mean=True)

    variants = (("classify", classifier, classified), ("predict", f"mlnet, {backbone}", predicted))
    return [
        attempt(
            lambda each=variant: measure(*each),
            command=f"{variant[0]} --compile", model=variant[1], variant="fp32 without TF32",
        )
        for variant in variants
    ]  # fmt: skip
