"""Send very many files through the inference commands, which are killed again and again on the way.

``CVKIT_TEST_IMAGES`` sets the number of images, and ``CVKIT_TEST_FOLDER`` a folder that keeps them and the results.
"""

import contextlib
import csv
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from cvkit.files import write_json

COUNT = int(os.environ.get("CVKIT_TEST_IMAGES", "10000"))
KILLS = 20
PER_FOLDER = 1000
SIZE = 32  # pixels
MAX_GROWTH = 0.02  # of the memory, from 1,000 images on
MAX_START_S = 15.0  # of processor time, which other jobs on the machine do not change

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("CVKIT_TEST_FOLDER")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("many")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def images(base: Path) -> Path:
    """A tree of small JPEG images of noise."""
    folder = base / f"images-{COUNT}"
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        path = folder / f"{number // PER_FOLDER:03d}" / f"{number:06d}.jpg"
        if number % PER_FOLDER == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
    return folder


class Job:
    """A run of a command in a process of its own, whose progress and memory are read from outside."""

    def __init__(self, words: list[str], ledger: Path) -> None:
        self.ledger = ledger
        command = [sys.executable, "-m", "cvkit", *words, "--json", "--progress", "none"]
        self.began = time.monotonic()
        # The document of classify has a row per class of each image, which no pipe holds until the process ends.
        self._out = Path(tempfile.gettempdir(), f"cvkit-many-files-{os.getpid()}.json")
        with self._out.open("wb") as stream:
            self.process = subprocess.Popen(command, stdout=stream, stderr=subprocess.PIPE, text=True)
        self.cpu_seconds = 0.0
        self.samples: list[tuple[int, float, int]] = []  # records in the ledger, seconds, bytes of memory
        self._offset = self._records = 0

    def records(self) -> int:
        """Return the number of whole lines of the ledger."""
        if self.ledger.exists():
            with self.ledger.open("rb") as stream:
                stream.seek(self._offset)
                while chunk := stream.read(1 << 20):
                    self._offset += len(chunk)
                    self._records += chunk.count(b'"crc": ')
        return self._records

    def watch(self, until: int | None = None) -> bool:
        """Sample progress and memory until the process ends, or kill it at a number of records; return if it ended."""
        while self.process.poll() is None:
            try:
                process = psutil.Process(self.process.pid)
                memory, times = process.memory_info().rss, process.cpu_times()
            except psutil.NoSuchProcess:
                break
            self.cpu_seconds = times.user + times.system
            self.samples.append((self.records(), time.monotonic() - self.began, memory))
            if until is not None and self.samples[-1][0] >= until:
                self.process.kill()
                self.process.communicate()
                return False
            time.sleep(0.1)
        return True

    @property
    def seconds(self) -> float:
        """Duration until the last sample."""
        return self.samples[-1][1]

    def document(self) -> dict[str, Any]:
        _, err = self.process.communicate()
        assert self.process.returncode == 0, err
        document: dict[str, Any] = json.loads(self._out.read_text())
        self._out.unlink()
        return document


def memory_at(samples: list[tuple[int, float, int]], records: int) -> int:
    """Return the largest memory while about a number of records was written."""
    near = [memory for count, _, memory in samples if abs(count - records) <= max(200, records // 20)]
    return max(near, default=0)


def seconds_by_decile(samples: list[tuple[int, float, int]]) -> list[float]:
    """Return the seconds per image in each tenth of a run."""
    first, last = samples[0][0], samples[-1][0]
    times = [
        next(seconds for count, seconds, _ in samples if count >= first + (last - first) * tenth / 10)
        for tenth in range(11)
    ]
    return [(end - start) * 10 / (last - first) for start, end in itertools.pairwise(times)]


COMMANDS = {
    "predict": ["--out", "{out}", "--model", "{model}"],
    "classify": ["--out", "{out}", "--model", "timm:test_resnet", "--weights", "none"],
    "gradcam": ["--out", "{out}", "--model", "timm:test_resnet", "--weights", "none", "--save", "map"],
}
COMMON = ["--batch-size", "64", "--workers", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def model(base: Path) -> Path:
    """A small saliency network with random weights."""
    from cvkit.commands.sample_data import sample_fixations
    from cvkit.commands.train_saliency import train_saliency
    from cvkit.config import SampleFixationsConfig, TrainSaliencyConfig

    if not (base / "run/best.pt").exists():
        sample_fixations(SampleFixationsConfig(out=str(base / "displays"), train=2, val=1, size=(96, 96)))
        settings: dict[str, Any] = {"backbone": "timm:mobilenetv3_small_050", "weights": "none", "device": "cpu"}
        settings |= {"size": (SIZE, SIZE), "epochs": 1, "samples": 0, "workers": 0, "batch_size": 2}
        train_saliency(TrainSaliencyConfig(data=str(base / "displays"), out=str(base / "run"), **settings))
    return base / "run"


def check_results(out: Path, images: Path) -> None:
    """Check that every input was recorded once, and that its row and its files are there and whole."""
    counts = Counter(
        json.loads(line)["input"]
        for line in (out / ".cvkit/1-of-1.jsonl").read_text().splitlines()
        if '"crc": ' in line
    )
    assert len(counts) == COUNT and set(counts.values()) == {1}
    with (out / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    # classify writes a row per class.
    assert [row["image"] for row in rows if row.get("rank", "1") == "1"] == sorted(map(str, images.rglob("*.jpg")))
    files = {row["map"] for row in rows if "map" in row}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.png")} == files
    assert len(files) in (0, COUNT) and not list(out.rglob(".cvkit-*"))
    for name in files:
        with Image.open(out / name) as image:
            image.load()


@pytest.mark.parametrize("command", COMMANDS)
def test_many_images_take_flat_memory_and_time_and_survive_kills(
    command: str, base: Path, images: Path, model: Path
) -> None:
    out = base / f"{command}-{COUNT}"
    ledger = out / ".cvkit/1-of-1.jsonl"
    words = [command, str(images), *(word.format(out=out, model=model) for word in COMMANDS[command]), *COMMON]
    for kill in range(1, KILLS + 1):  # within the first fifth
        assert not Job(words, ledger).watch(until=kill * COUNT // (5 * KILLS))
    job = Job(words, ledger)
    before = job.records()
    assert job.watch()
    counts = job.document()
    counts = counts.get("batch", counts)["counts"]
    assert counts == {"inputs": COUNT, "skipped": before, "done": COUNT - before, "failed": 0}
    check_results(out, images)
    running = [sample for sample in job.samples if before + 1 < sample[0] < COUNT]
    again = Job(words, ledger)
    again.watch()
    counts = again.document()
    assert counts.get("batch", counts)["counts"]["skipped"] == COUNT
    figures = {
        "memory": {str(at): memory_at(running, before + at) for at in (1000, COUNT // 10, COUNT // 2, COUNT - before)},
        "peak": max(sample[2] for sample in job.samples),
        "milliseconds": [round(1000 * seconds, 2) for seconds in seconds_by_decile(running)],
        "start": round(again.cpu_seconds, 1),
        "start_peak": max(sample[2] for sample in again.samples),
    }
    write_json(base / f"{command}-{COUNT}.json", figures)
    # The memory of a process with many threads goes up and down by several per cent. Its means show whether it grows.
    settled = [sample[2] for sample in running if sample[0] > before + 1000]
    tenth = max(1, len(settled) // 10)
    assert statistics.fmean(settled[-tenth:]) <= (1 + MAX_GROWTH) * statistics.fmean(settled[:tenth])
    assert figures["start"] < MAX_START_S


def losses(run: Path) -> list[list[str]]:
    """Return the history of a run without its durations."""
    with (run / "history.csv").open(newline="") as stream:
        return [row[:6] for row in csv.reader(stream)]


def test_an_embedding_of_many_images_survives_kills_and_ends_alike(base: Path, images: Path) -> None:
    words = ["cae-embed", "--data", str(images), "--widths", "4,8", "--epochs", "3", "--compare", "none", "--resume"]
    words += ["--format", "npy", "--device", "cpu", "--batch-size", "64", "--workers", "2", "--out"]
    whole = Job([*words, str(base / f"embed-{COUNT}")], base / "none")
    whole.watch()
    document = whole.document()
    out = base / f"embed-killed-{COUNT}"
    rng = np.random.default_rng(1)
    kills = 0
    for kill in range(KILLS):
        # Later kills come later, so that the run gets through: reading cannot be continued, and begins anew.
        job = Job([*words, str(out)], base / "none")
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.process.wait(whole.seconds * rng.uniform(0.1, 0.2 + kill / KILLS))
            break
        job.process.kill()
        job.process.communicate()
        kills += 1
    last = Job([*words, str(out)], base / "none")
    last.watch()
    assert kills >= KILLS // 2
    assert last.document()["images"] == document["images"]
    assert (out / "embeddings.npy").read_bytes() == (base / f"embed-{COUNT}/embeddings.npy").read_bytes()
    assert losses(out) == losses(base / f"embed-{COUNT}")
    assert not list(out.rglob(".cvkit-*"))
    write_json(
        base / f"embed-{COUNT}.json",
        {
            "kills": kills,
            "seconds": round(whole.seconds, 1),
            "memory": [memory >> 20 for _, _, memory in whole.samples[:: max(1, len(whole.samples) // 10)]],
        },
    )
