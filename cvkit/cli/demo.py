"""``cvkit demo``: the main job from data to scores, on generated displays, in a few minutes."""

from pathlib import Path
from typing import Annotated

import typer

from cvkit.cli import options as o
from cvkit.cli.console import ProgressMode
from cvkit.cli.session import session, show_scores
from cvkit.config import EvaluateConfig, PredictConfig, SampleFixationsConfig, TrainSaliencyConfig
from cvkit.errors import OutputError
from cvkit.progress import Note

TRAIN, VAL = 400, 40
SIZE = (96, 128)


def demo(
    out: Annotated[str, typer.Option(help="Folder to make.")] = "demo",
    epochs: Annotated[int, typer.Option(help="Epochs of training.")] = 16,
    device: o.Device = "auto",
    progress: o.Progress = ProgressMode.auto,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Make a small data set, train on it, predict and score: under 5 minutes on two cores, pictures included."""
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is there already: name another folder with --out.")
    with session(progress, quiet, json) as console:
        from cvkit.commands.evaluate import evaluate
        from cvkit.commands.predict import predict
        from cvkit.commands.sample_data import sample_fixations
        from cvkit.commands.train_saliency import train_saliency

        def step(command: str) -> None:
            console.listen(Note(f"$ cvkit {command}"))

        data, run, maps, scores = (str(folder / name) for name in ("data", "run", "maps", "scores"))
        step(f"sample-data fixations {data} --train {TRAIN} --val {VAL} --size 240x320")
        sample_fixations(SampleFixationsConfig(out=data, train=TRAIN, val=VAL, size=(240, 320)), console.listen)
        step(
            f"train-saliency --data {data} --backbone resnet18 --weights none --size {SIZE[0]}x{SIZE[1]} "
            f"--lr 0.002 --batch-size 16 --epochs {epochs} --out {run}"
        )
        config = TrainSaliencyConfig(
            data=data,
            backbone="resnet18",
            weights="none",
            size=SIZE,
            lr=2e-3,
            batch_size=16,
            epochs=epochs,
            out=run,
            device=device,
        )
        train_saliency(config, console.listen)
        step(f"predict {data}/images/val --checkpoint {run} --format png16 --overlay --out {maps}")
        predict(
            PredictConfig(
                inputs=(f"{data}/images/val",), checkpoint=run, out=maps, format="png16", overlay=True, device=device
            ),
            console.listen,
        )
        step(f"evaluate --data {data} --maps {maps} --with-baselines --no-emd --out {scores}")
        result = evaluate(
            EvaluateConfig(data=data, maps=maps, with_baselines=True, emd=False, out=scores, device=device),
            console.listen,
        )
        console.result(result)
        show_scores(console, result)
        console.lines(f"input, human and predicted maps: {run}/samples/best.png", f"learning curves: {run}/curves.png")
