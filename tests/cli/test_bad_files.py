"""Run every streaming command on damaged and odd files: each good one is done, and each bad one is reported."""

import csv
import os
import resource
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from cvkit.cli import main as program
from cvkit.commands.evaluate import evaluate
from cvkit.commands.predict import predict
from cvkit.config import EvaluateConfig, InferenceConfig, PredictConfig
from cvkit.config.classification import ClassifierConfig
from cvkit.data.collection import ReadOptions, find_source, read_collection
from cvkit.data.images import image_size, read_image
from cvkit.errors import DataError
from cvkit.inputs import find_inputs
from cvkit.tasks.classification import specification
from cvkit.tasks.saliency.data.dataset import SampleSpec, prepare
from cvkit.tasks.saliency.data.layout import MAP_SUFFIXES, read_layout
from tests import corpus
from tests.corpus import BAD, GOOD, Case

from .conftest import Run

STREAMING = {each.name: each.config for each in program.ALL_COMMANDS if issubclass(each.config, InferenceConfig)}
PER_FAMILY = 5  # files of each family in the sample
MAX_MEMORY_KB = 2_500_000  # of a command on the whole corpus, torch included
Corpus = tuple[Path, list[Case]]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The whole corpus."""
    folder = tmp_path_factory.mktemp("corpus") / "files"
    return folder, corpus.build(folder)


@pytest.fixture(scope="session")
def sample(whole: Corpus) -> Corpus:
    """Files of every family of the corpus."""
    folder, cases = whole
    families: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        families[case.name.split("/")[0]].append(case)
    steps = {name: 1 if name == "links" else len(each) // PER_FAMILY + 1 for name, each in families.items()}
    return folder, [case for name, each in families.items() for case in each[:: steps[name]]]


def write_list(folder: Path, cases: list[Case]) -> str:
    """Write a list of files, each ended by NUL, and return the argument that reads it."""
    Path("list.txt").write_bytes(b"".join(os.fsencode(folder / case.name) + b"\0" for case in cases))
    return "@list.txt"


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small classifier."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "three.pth"
    torch.save(specification.make("squeezenet1_1", 3).state_dict(), path)
    return path


def words_for(name: str, inputs: object, trained: Path, weights: Path) -> list[str]:
    """Return the command line of a streaming command with a small network."""
    if issubclass(STREAMING[name], ClassifierConfig):
        model = ["--model", "squeezenet1_1", "--weights", str(weights)]
    else:
        model = ["--model", str(trained)]
    return [name, str(inputs), *model, "--out", "out"]


def as_written(text: str) -> str:
    """Return text as it stands in a CSV file: parts that are not UTF-8 are escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def check_results(out: Path, folder: Path, cases: list[Case]) -> None:
    """Check that each case is either in results.csv with its files, or in failures.csv with its reason."""
    names = {as_written(str(folder / case.name)): case for case in cases}
    results = {row["image"]: row for row in table(out / "results.csv")}
    failures = {row["input"]: row["message"] for row in table(out / "failures.csv")}
    assert list(results) == list(names), "every input has its row, in the order of the inputs"
    assert list(failures) == [name for name in names if name in failures]
    for name, case in names.items():
        done = [value for column, value in results[name].items() if column != "image" and value]
        assert bool(done) != (name in failures), case.name
        if name in failures:
            assert case.outcome != GOOD, f"{case.name}: {failures[name]}"
            assert "\n" not in failures[name] and case.reason in failures[name], f"{case.name}: {failures[name]}"
        else:
            assert case.outcome != BAD, case.name


def check_pixels(folder: Path, cases: list[Case]) -> None:
    """Check the pixels that are read from each case, and that its size is known before they are."""
    for case in cases:
        try:
            pixels = read_image(folder / case.name)
        except DataError as error:
            assert case.outcome != GOOD, error
            assert case.reason in str(error)
            continue
        assert case.outcome != BAD, case.name
        assert image_size(folder / case.name) == pixels.shape[:2], case.name
        if case.pixels is not None:
            assert pixels.shape == case.pixels.shape, case.name
            assert np.abs(pixels.astype(int) - case.pixels).max() <= case.tolerance, case.name


def test_the_corpus_is_large_and_found_in_order(whole: Corpus) -> None:
    folder, cases = whole
    assert len(cases) > 1000
    assert [item.name for item in find_inputs([str(folder)])] == [str(folder / case.name) for case in cases]


def test_pixels_of_good_files_are_right_and_bad_files_are_refused(whole: Corpus) -> None:
    check_pixels(*whole)


@pytest.mark.parametrize("name", STREAMING)
def test_bad_files_cost_a_row_each(run: Run, sample: Corpus, trained: Path, weights: Path, name: str) -> None:
    ended = run(*words_for(name, write_list(*sample), trained, weights))
    assert ended.code == 3, ended.err
    assert "Traceback" not in ended.err
    check_results(Path("out"), *sample)


def test_a_folder_that_vanishes_during_the_run_is_listed_as_failed(trained: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in range(12):
            (tmp_path / "in" / name / f"{number:02}.png").write_bytes(corpus.png_of(corpus.noise(seed=number), 2))
    config = PredictConfig(inputs=(str(tmp_path / "in"),), model=str(trained), out="out", batch_size=1, workers=1)
    result = predict(config, lambda _: shutil.rmtree(tmp_path / "in/b", ignore_errors=True))
    assert result.counts.done >= 12 and result.counts.done + result.counts.failed == 24
    messages = {row["message"].rpartition(": ")[2] for row in table(tmp_path / "out/failures.csv")}
    assert messages == {"no such file."}


def test_listed_paths_are_written_inside_the_result_folder(run: Run, trained: Path, tmp_path: Path) -> None:
    here = tmp_path / "a/b"
    here.mkdir(parents=True)
    os.chdir(here)
    names = [
        "../../up.png",
        f"{tmp_path}/absolute.png",
        ".cvkit/1-of-1.png",
        "results.csv/x.png",
        "sub/../y.png",
        "..png",
    ]
    (here / "sub").mkdir()
    for name in names:
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_bytes(corpus.png_of(corpus.noise(), 2))
    (here / "list.txt").write_text("\n".join(names))
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    words = ("predict", "@list.txt", "--model", trained, "--out", "out")
    assert run(*words).code == 0
    assert {path for path in tmp_path.rglob("*") if "out" not in path.parts} == before
    maps = [row["map"] for row in table(Path("out/results.csv"))]
    absolute = f"{tmp_path.relative_to('/')}/absolute.png"
    assert maps == ["up.png", absolute, ".cvkit_/1-of-1.png", "results.csv_/x.png", "sub/y.png", "..png.png"]
    shutil.rmtree("out/sub")
    Path("out/sub").symlink_to(tmp_path)
    ended = run(*words)
    assert ended.code == 1 and "outside the result folder: remove the link" in ended.err


def check_collection(source: str, folder: Path, cases: list[Case]) -> None:
    """Check that each case is either among the images in memory or among the failures."""
    collection = read_collection(find_source(source), ReadOptions(size=(8, 8)))
    failed = {Path(each.name).relative_to(folder).as_posix() for each in collection.failures}
    read = {Path(name).relative_to(folder).as_posix() for part in collection.splits.values() for name in part.names}
    assert failed | read == {case.name for case in cases} and not failed & read
    assert failed >= {case.name for case in cases if case.outcome == BAD}
    assert read >= {case.name for case in cases if case.outcome == GOOD}


def link_maps(folder: Path, cases: list[Case], root: Path) -> dict[str, Case]:
    """Create a saliency data set whose maps are links to the corpus, and return the case of each image by its stem."""
    for name in ("images", "maps", "fixations"):
        (root / name).mkdir(parents=True)
    by_stem = {}
    for number, case in enumerate(cases):
        source, suffix = folder / case.name, Path(case.name).suffix.lower()
        if suffix not in MAP_SUFFIXES:
            continue
        stem = f"{number:04}"
        shape = case.pixels.shape if case.pixels is not None else (*corpus.SIDE, 3)
        (root / f"images/{stem}.png").write_bytes(corpus.png_of(np.full(shape, 99, np.uint8), 2))
        (root / f"maps/{stem}{suffix}").symlink_to(source)
        (root / f"fixations/{stem}.csv").write_text("x,y\n0,0\n")
        by_stem[stem] = case
    return by_stem


def check_maps(root: Path, cases: dict[str, Case]) -> None:
    """Check that training and evaluation leave out every map that is bad, and report it."""
    layout = read_layout(root)
    assert [example.key for example in layout.examples] == sorted(cases)
    prepared = prepare(layout.examples, SampleSpec(size=(16, 16)), "none", 2, lambda _: None)
    usable = {example.key for example in prepared.examples}
    bad = {stem for stem, case in cases.items() if case.outcome == BAD}
    assert not usable & bad
    assert prepared.problems.count() == len(cases) - len(usable)
    (root / "maps").rename(root.parent / "predicted")  # the maps to score; the fixations are the ground truth
    config = EvaluateConfig(
        data=str(root), maps=str(root.parent / "predicted"), emd=False, device="cpu", out=str(root.parent / "scores")
    )
    failed = {Path(row["input"]).stem for row in evaluate(config).failed}
    assert failed >= bad
    assert {Path(row["input"]).stem for row in table(root.parent / "scores/failures.csv")} == failed


def test_data_sets_list_every_bad_file(sample: Corpus, tmp_path: Path) -> None:
    check_collection(write_list(*sample), *sample)
    check_maps(tmp_path / "data", link_maps(*sample, tmp_path / "data"))


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMING)
def test_the_whole_corpus_costs_a_row_per_bad_file(whole: Corpus, trained: Path, weights: Path, name: str) -> None:
    folder, cases = whole
    command = [sys.executable, "-m", "cvkit", *words_for(name, folder, trained, weights), "--workers", "2"]
    ended = subprocess.run(command, capture_output=True, timeout=1800, check=False)
    assert ended.returncode == 3, ended.stderr[-2000:]
    assert b"Traceback" not in ended.stderr
    check_results(Path("out"), folder, cases)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < MAX_MEMORY_KB


@pytest.mark.slow
def test_data_sets_list_every_bad_file_of_the_whole_corpus(whole: Corpus, tmp_path: Path) -> None:
    check_collection(str(whole[0]), *whole)
    check_maps(tmp_path / "data", link_maps(*whole, tmp_path / "data"))
