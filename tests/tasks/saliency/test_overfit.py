"""Test that the VGG16 networks overfit real photographs in a stopped and resumed run, and score their predictions.

Each test takes minutes: run them with ``pytest -m slow``.
"""

import csv
import json
from pathlib import Path

import pytest

from cvkit.commands.evaluate import evaluate
from cvkit.commands.predict import predict
from cvkit.commands.train_saliency import train_saliency
from cvkit.config import EvaluateConfig, PredictConfig, TrainSaliencyConfig

pytestmark = [pytest.mark.slow, pytest.mark.shared]


@pytest.fixture
def eight(shared: Path, tmp_path: Path) -> Path:
    """Write a manifest that uses the same eight photographs for training and validation."""
    osie = shared / "data/osie"
    stems = sorted(path.stem for path in (osie / "images/train").iterdir())[:8]
    manifest = tmp_path / "eight.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "map", "fixations", "split"])
        for split in ("train", "val"):
            for stem in stems:
                kinds = (("images", "jpg"), ("maps", "png"), ("fixations", "csv"))
                writer.writerow([*(osie / kind / "train" / f"{stem}.{suffix}" for kind, suffix in kinds), split])
    return manifest


@pytest.mark.parametrize(
    ("model", "size"),
    [("mlnet", (64, 96)), ("encoder-decoder", (48, 64))],
)
def test_a_network_overfits_eight_photographs(eight: Path, tmp_path: Path, model: str, size: tuple[int, int]) -> None:
    def config(until: int, *, resume: bool) -> TrainSaliencyConfig:
        return TrainSaliencyConfig(
            data=str(eight),
            model=model,
            weights="none",
            size=size,
            batch_size=4,
            schedule="constant",
            augment="none",
            epochs=until,
            resume=resume,
            samples=0,
            out=str(tmp_path / "run"),
        )

    train_saliency(config(1, resume=False))
    result = train_saliency(config(60, resume=True))
    assert result.best["val_cc"] > 0.9
    photographs = [row.split(",")[0] for row in eight.read_text().splitlines()[1:9]]
    predict(
        PredictConfig(inputs=tuple(photographs), model=str(tmp_path / "run"), format="npy", out=str(tmp_path / "maps"))
    )
    scores = evaluate(
        EvaluateConfig(data=str(eight), maps=str(tmp_path / "maps"), split="val", emd=False, out=str(tmp_path / "s"))
    )
    assert scores.scores["maps"]["cc"].mean > 0.9
    assert json.loads((tmp_path / "s/summary.json").read_text())["images"] == 8
