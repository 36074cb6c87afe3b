"""Run the main steps on generated data: train, predict and evaluate."""

from dataclasses import dataclass
from pathlib import Path

from cvkit.commands.evaluate import EvaluateResult, evaluate
from cvkit.commands.predict import predict
from cvkit.commands.sample_data import sample_fixations
from cvkit.commands.train_saliency import train_saliency
from cvkit.config import DemoConfig, EvaluateConfig, PredictConfig, SampleFixationsConfig, TrainSaliencyConfig
from cvkit.config.values import format_size
from cvkit.errors import OutputError
from cvkit.progress import Note, Reporter, ignore

TRAIN_DISPLAYS, VAL_DISPLAYS = 400, 40
DISPLAY_SIZE, INPUT_SIZE = (240, 320), (96, 128)


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """The run folder, and the scores of its maps."""

    run: str
    scores: EvaluateResult


def demo(config: DemoConfig, report: Reporter = ignore) -> DemoResult:
    """Generate displays, train a network on them, predict the validation maps and score them.

    Raises:
        OutputError: If the folder exists and is not empty.
    """
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
    return DemoResult(run=run, scores=evaluate(settings, report))


def _make_data(data: str, report: Reporter) -> None:
    size = format_size(DISPLAY_SIZE)
    report(Note(f"$ cvkit sample-data fixations {data} --train {TRAIN_DISPLAYS} --val {VAL_DISPLAYS} --size {size}"))
    sample_fixations(SampleFixationsConfig(out=data, train=TRAIN_DISPLAYS, val=VAL_DISPLAYS, size=DISPLAY_SIZE), report)


def _train(config: DemoConfig, data: str, run: str, report: Reporter) -> None:
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
