"""Make the archive of run folders, exported files and result folders that ``test_old_artefacts.py`` opens.

The code of commit a1349c6 made it once. It is not made again:

    python make_artefacts.py CHECKOUT_OF_a1349c6 old_artefacts.tar.xz

All paths in it are relative. SIGTERM stopped the runs after the first of two epochs. Tensors with 256 or more elements
in their checkpoints are rounded, in the same way in best.pt and last.pt: weights and momentum to multiples of the power
of two nearest to their standard deviation, Adam's second moments (exp_avg_sq) up to powers of two. The tests concern
the format, and random float32 numbers cannot be compressed. Pictures of the run folders are left out. Modification
times are whole seconds, as tar stores them, because result folders recognise unchanged inputs by modification time.
"""

import csv
import gzip
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

WHEN = 1_700_000_000  # modification time of all inputs
LARGE = 256
CPU = ["--device", "cpu", "--workers", "0"]
# The test runs the same command lines again; the runs continue with "--resume --out RUN" after these words.
COMMANDS: dict[str, list[str]] = {
    "train-saliency": [
        "train-saliency", "--data", "displays", "--model", "mlnet", "--backbone", "timm:lcnet_035", "--weights", "none",
        "--size", "64x64", "--batch-size", "2", "--epochs", "2", "--dropout", "0", "--augment", "none",
        "--samples", "1", "--freeze", "1", "--optimizer", "sgd", "--lr", "0.01", "--best-metric", "kl", *CPU,
    ],
    "train-autoencoder": [
        "cae-embed", "--data", "digits", "--widths", "4,4", "--epochs", "2", "--batch-size", "8", "--ema", "0.5",
        "--lr", "0.01", *CPU,
    ],
    "predict": ["predict", "displays/images/val", "--checkpoint", "saliency-run", "--overlay", "--out", "maps", *CPU],
    "evaluate": [
        "evaluate", "--data", "displays", "--maps", "maps", "--no-emd", "--with-baselines", "--out", "scores", *CPU,
    ],
    "classify": [
        "classify", "displays/images/val", "--model", "squeezenet1_1", "--weights", "none", "--truth", "truth.csv",
        "--per-class", "--format", "json", "--out", "classes", *CPU,
    ],
    "gradcam": [
        "gradcam", "displays/images/val", "--model", "squeezenet1_1", "--weights", "none", "--class", "7", "--class",
        "tench", "--save", "map,overlay", "--format", "png", "--out", "cam", *CPU,
    ],
    "embed": [
        "cae-embed", "--data", "digits", "--checkpoint", "autoencoder-run", "--embed", "test", "--compare", "pca",
        "--out", "embeddings", *CPU,
    ],
}  # fmt: skip
RUNS = {"train-saliency": "saliency-run", "train-autoencoder": "autoencoder-run"}
EXPORTS = {
    "exported/encoder.onnx": ["autoencoder-run"],
    "exported/encoder.pt2": ["autoencoder-run", "--format", "pt2"],
    "exported/encoder.safetensors": ["autoencoder-run", "--format", "safetensors"],
    "exported/saliency.onnx": ["saliency-run"],
}
STOP_AFTER_AN_EPOCH = """
import os, signal, sys
from cvkit.cli import main
from cvkit.cli.console import Console
listen = Console.listen
def interrupt(self, event):
    listen(self, event)
    if str(getattr(event, "text", "")).startswith("epoch 1:"):
        os.kill(os.getpid(), signal.SIGTERM)
Console.listen = interrupt
sys.argv[0] = "cvkit"
main.main()
"""


def main() -> None:
    checkout, archive = sys.argv[1], Path(sys.argv[2]).absolute()
    os.environ["PYTHONPATH"], os.environ["OMP_NUM_THREADS"] = checkout, "1"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_inputs()
        for name, run in RUNS.items():
            cvkit(*COMMANDS[name], "--out", run, program=STOP_AFTER_AN_EPOCH, code=75)
            round_checkpoints(Path(run))
            for picture in [*Path(run).glob("*.png"), *Path(run).glob("samples/*")]:
                picture.unlink()
            shutil.rmtree(Path(run, "samples"), ignore_errors=True)
        for name in ("predict", "evaluate", "classify", "gradcam", "embed"):
            cvkit(*COMMANDS[name])
        for out, words in EXPORTS.items():
            cvkit("export", *words, "--out", out)
        Path("commands.json").write_text(json.dumps(COMMANDS, indent=1) + "\n")
        Path("expected.json").write_text(json.dumps(expected(Path(folder)), indent=1) + "\n")
        with tarfile.open(archive, "w:xz", preset=9) as tar:
            tar.add(".", arcname=".", filter=plain)
    sys.stdout.write(f"{archive}: {archive.stat().st_size:,} bytes\n")


def cvkit(*words: str, program: str | None = None, code: int = 0) -> None:
    start = ["-c", program] if program else ["-m", "cvkit"]
    ended = subprocess.run([sys.executable, *start, *words], capture_output=True, text=True, check=False)
    if ended.returncode != code:
        raise SystemExit(f"{words}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}")


def make_inputs() -> None:
    """Write the data: displays with fixations, and IDX files of bright rectangles."""
    cvkit("sample-data", "fixations", "displays", "--train", "3", "--val", "2", "--size", "96x96")
    names = sorted(path.name for path in Path("displays/images/val").iterdir())
    Path("truth.csv").write_text("image,class_index\n" + "".join(f"{name},{n}\n" for n, name in enumerate(names)))
    rng = np.random.default_rng(0)
    Path("digits").mkdir()
    for split, count in (("train", 40), ("t10k", 24)):
        labels = (np.arange(count) % 3).astype(np.uint8)
        images = np.zeros((count, 12, 12), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4 * label : 4 * label + 4, 2:8] = rng.integers(120, 250)
        for what, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            packed = gzip.compress(head + array.tobytes(), mtime=0)
            Path("digits", f"{split}-{what}-ubyte.gz").write_bytes(packed)
    for path in [*Path("displays").rglob("*"), *Path("digits").rglob("*"), Path("truth.csv")]:
        os.utime(path, (WHEN, WHEN))


def round_checkpoints(run: Path) -> None:
    """Round the large tensors of a run's checkpoints."""
    for name in ("best.pt", "last.pt"):
        content = torch.load(run / name, weights_only=True)
        torch.save(rounded(content), run / name)


def rounded(value: Any, name: str = "") -> Any:
    if isinstance(value, torch.Tensor):
        if not value.is_floating_point() or value.numel() < LARGE:
            return value
        if name == "exp_avg_sq":  # never to zero, which Adam divides by
            return torch.exp2(torch.ceil(torch.log2(value.clamp_min(2.0**-60))))
        step = 2.0 ** round(math.log2(float(value.std()) + 2.0**-60))
        return torch.round(value / step) * step
    if isinstance(value, dict):
        return type(value)((key, rounded(part, key)) for key, part in value.items())
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return value


def expected(folder: Path) -> dict[str, Any]:
    """Continue each run with the code that made it, and return the metrics of the last epoch."""
    found = {}
    for name, run in RUNS.items():
        with tempfile.TemporaryDirectory() as other:
            shutil.copytree(folder, other, dirs_exist_ok=True)
            os.chdir(other)
            cvkit(*COMMANDS[name], "--resume", "--out", run)
            rows = list(csv.DictReader(Path(run, "history.csv").read_text().splitlines()))
            assert [row["epoch"] for row in rows] == ["1", "2"], rows
            found[run] = {key: float(value) for key, value in rows[-1].items() if key.startswith(("train_", "val_"))}
            os.chdir(folder)
    return found


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove owner, permissions and fractions of a second from the metadata of a file."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(member.mtime)
    member.mode = 0o755 if member.isdir() else 0o644
    return member


if __name__ == "__main__":
    main()
