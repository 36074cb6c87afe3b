"""Run and present ``cvkit demo``: generate data, train, predict and evaluate in a few minutes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cvkit.cli.command import TOOLS, Command
from cvkit.cli.console import Console
from cvkit.cli.evaluate import show_scores
from cvkit.config import DemoConfig, EvaluateConfig, PredictConfig, SampleFixationsConfig, TrainSaliencyConfig
from cvkit.config.values import format_size
from cvkit.errors import OutputError
from cvkit.progress import Note, Reporter

if TYPE_CHECKING:
    from cvkit.commands.evaluate import SaliencyResult

TRAIN_DISPLAYS, VAL_DISPLAYS = 400, 40
DISPLAY_SIZE, INPUT_SIZE = (240, 320), (96, 128)


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """The run folder, and the scores of its maps."""

    run: str
    scores: "SaliencyResult"


def demo(config: DemoConfig, report: Reporter) -> DemoResult:
    """Generate displays, train a network on them, predict the validation maps and score them.

    Raises:
        OutputError: If the folder exists and is not empty.
    """
    from cvkit.commands.evaluate import SaliencyResult, evaluate
    from cvkit.commands.predict import predict

    folder = Path(config.out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists already: name another folder with --out.")
    data, run, maps, scores = (str(folder / name) for name in ("data", "run", "maps", "scores"))
    _make_data(data, report)
    _train(config, data, run, report)
    report(Note(f"$ cvkit predict {data}/images/val --model {run} --format png16 --overlay --out {maps}"))
    images = (f"{data}/images/val",)
    predict(
        PredictConfig(inputs=images, model=run, out=maps, format="png16", overlay=True, device=config.device), report
    )
    report(Note(f"$ cvkit evaluate --data {data} --maps {maps} --with-baselines --no-emd --out {scores}"))
    settings = EvaluateConfig(data=data, maps=maps, with_baselines=True, emd=False, out=scores, device=config.device)
    result = evaluate(settings, report)
    assert isinstance(result, SaliencyResult)
    return DemoResult(run=run, scores=result)


def _make_data(data: str, report: Reporter) -> None:
    from cvkit.commands.sample_data import sample_fixations

    size = format_size(DISPLAY_SIZE)
    report(Note(f"$ cvkit sample-data fixations {data} --train {TRAIN_DISPLAYS} --val {VAL_DISPLAYS} --size {size}"))
    sample_fixations(SampleFixationsConfig(out=data, train=TRAIN_DISPLAYS, val=VAL_DISPLAYS, size=DISPLAY_SIZE), report)


def _train(config: DemoConfig, data: str, run: str, report: Reporter) -> None:
    from cvkit.commands.train_saliency import train_saliency

    report(
        Note(
            f"$ cvkit train-saliency --data {data} --backbone resnet18 --weights none "
            f"--size {format_size(INPUT_SIZE)} --lr 0.002 --batch-size 16 --epochs {config.epochs} --out {run}"
        )
    )
    settings = TrainSaliencyConfig(
        data=data,
        backbone="resnet18",
        weights="none",
        size=INPUT_SIZE,
        lr=2e-3,
        batch_size=16,
        epochs=config.epochs,
        out=run,
        device=config.device,
    )
    train_saliency(settings, report)


def _show(console: Console, result: "DemoResult") -> None:
    run = Path(result.run)
    show_scores(console, result.scores)
    console.lines(f"input, human and predicted maps: {run}/samples/best.png", f"learning curves: {run}/curves.png")


COMMAND = Command(
    name="demo",
    help="Show the main steps on generated data: train, predict and evaluate, in under 5 minutes on two cores.",
    config=DemoConfig,
    run=demo,
    show=_show,
    document=lambda result: result.scores,
    panel=TOOLS,
    page="quickstart.md",
)
