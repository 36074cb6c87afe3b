"""Check cvkit on a GPU: compare its outputs with those of the processor, and measure its speed.

One GPU and 9 minutes suffice. The script needs no network and no data: it makes photographs, weights and data sets. It
writes gpu.json and gpu.md (tables with the device and the versions) after every check. A check that fails or crashes is
recorded, and the others still run. Checks for which no time is left are skipped, the least important ones first. The
exit code is 1 if a correctness check failed.
"""

import argparse
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

from gpu_checks import classifier_training, decoding, outputs, speed, training, training_speed
from gpu_checks.lab import Lab
from gpu_checks.report import Report
from gpu_checks.running import Check, run_checks
from machine import describe_gpu, describe_machine

from cvkit.device import choose_device
from cvkit.errors import CvkitError

OUTPUTS = "Outputs on the device against fp32 on the processor"
ROBUST = "Killed runs and too little memory"
COMMANDS = "Inference commands over JPEG files of 800x600"
BARE = "The networks alone, images/s"
COMPILED = "The networks alone, compiled, images/s"
GRADCAM = "Grad-CAM of a batch on the device"
TRAINING = "Training at 224x224"
DECODING = "Decoding of JPEG files"
NOTES = [
    "Outputs: *largest* is the largest difference from the processor. *Measured* is that of the mean over a map, or "
    "over the logarithms of the probabilities of an image in standard deviations of its logits; of a mean score as a "
    "fraction of max(1, score); of a code as a fraction of the largest one; of the loss of a step as a fraction of it.",
    "Speed: fp32 is PyTorch's default, which allows TF32 in convolutions. *GPU computes* is the fraction of the "
    "duration in which at least one kernel runs (PyTorch's profiler, in a run of its own). *Decoding, of all core "
    "time* is the time of reading, decoding and resizing in one thread, times the images per second, divided by the "
    "number of cores.",
]


def all_checks(lab: Lab) -> list[Check]:
    """Return the checks in order of priority, with their expected seconds on a GPU."""
    return [
        Check("classify", "correctness", OUTPUTS, 25, outputs.check_classify),
        Check("gradcam", "correctness", OUTPUTS, 30, outputs.check_gradcam),
        Check("predict", "correctness", OUTPUTS, 25, outputs.check_predict),
        Check("train-saliency", "correctness", OUTPUTS, 40, training.check_curves),
        Check("train-classifier", "correctness", OUTPUTS, 30, classifier_training.check_classifier_curves),
        Check("resume", "correctness", ROBUST, 45, training.check_resume),
        Check("memory-inference", "correctness", ROBUST, 20, training.check_memory_of_inference),
        Check("memory-training", "correctness", ROBUST, 20, training.check_memory_of_training),
        Check("evaluate", "correctness", OUTPUTS, 15, outputs.check_evaluate),
        Check("cae-embed", "correctness", OUTPUTS, 15, outputs.check_embed),
        Check("export", "correctness", OUTPUTS, 45, outputs.check_export),
        Check("speed-train-salgan", "speed", TRAINING, 30, training_speed.measure_train_saliency),
        Check("speed-train-resnet34", "speed", TRAINING, 30, classifier_training.measure_train_classifier),
        *command_checks(lab, gradcam_classes=1),
        Check("speed-gradcam-peers", "speed", GRADCAM, 20, speed.measure_grad_cam),
        Check("speed-loops", "speed", TRAINING, 15, training_speed.measure_loops),
        Check("speed-decoding", "speed", DECODING, 10, decoding.measure_decoding),
        Check("train-saliency-compiled", "correctness", OUTPUTS, 60, training.check_compiled_training),
        Check("compiled", "correctness", OUTPUTS, 60, outputs.check_compiled),
        *command_checks(lab, gradcam_classes=3),
        Check("speed-compiled-loops", "speed", TRAINING, 60, training_speed.measure_compiled_loops),
        Check("speed-layouts", "speed", BARE, 30, speed.measure_bare),
        Check("speed-compiled", "speed", COMPILED, 90, speed.measure_compiled),
    ]


def command_checks(lab: Lab, gradcam_classes: int) -> list[Check]:
    """Return the speed checks of ``gradcam``, and with one class also those of ``classify`` and ``predict``."""
    amounts = lab.amounts
    jobs = []
    if gradcam_classes == 1:
        jobs += [(f"classify-{name}", partial(speed.classify_job, name=name)) for name in amounts.classifiers]
        jobs += [(f"predict-{name}", partial(speed.predict_job, backbone=name)) for name in amounts.backbones]
    jobs += [
        (f"gradcam-{name}-{gradcam_classes}", partial(speed.gradcam_job, name=name, classes=gradcam_classes))
        for name in amounts.classifiers
    ]
    return [
        Check(f"speed-{name}", "speed", COMMANDS, 22, lambda lab, make=make: speed.measure_command(lab, make(lab)))
        for name, make in jobs
    ]


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to test this script")
    parser.add_argument("--minutes", type=float, default=9.0, help="time budget")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for gpu.json and gpu.md")
    parser.add_argument("--quick", action="store_true", help="tiny amounts of work, to test this script")
    parser.add_argument("--only", default="", help="names of checks, separated by commas")
    parser.add_argument("--list", action="store_true", help="print the names of the checks and exit")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the checks, and return the exit code."""
    began = time.monotonic()
    options = read_options(arguments)
    warnings.filterwarnings("ignore", message=".*TF32.*")  # PyTorch's hint at its new names of this setting
    try:
        device = choose_device(options.device)
    except CvkitError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="cvkit-gpu-") as name:
        lab = Lab(device, Path(name), began + 60 * options.minutes, options.quick, 0.0 if options.quick else 1.0)
        checks = all_checks(lab)
        if options.list:
            print("\n".join(check.name for check in checks))
            return 0
        wanted = set(filter(None, options.only.split(",")))
        if unknown := wanted - {check.name for check in checks}:
            print(f"--only: there is no check {', '.join(sorted(unknown))}; --list prints the names.", file=sys.stderr)
            return 2
        facts = {"device": str(device), **describe_gpu(device), **describe_machine()}
        report = Report(options.out, facts, NOTES)
        run_checks([check for check in checks if not wanted or check.name in wanted], lab, report)
    print(report.markdown())
    print(f"{options.out / 'gpu.json'} and {options.out / 'gpu.md'} are complete.", file=sys.stderr)
    return 1 if any(outcome.is_failure for outcome in report.outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
