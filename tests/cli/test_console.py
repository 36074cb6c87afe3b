"""Test what the console writes."""

import csv
import math
from pathlib import Path

import pytest

from cvkit.cli.console import Console, ProgressMode, bar, show_error
from cvkit.progress import Facts, Note, Stage, Step


@pytest.mark.parametrize(
    ("share", "drawn"),
    [
        (0.0, ""),
        (1.0, "████████████"),
        (0.5, "██████"),
        (1 / 12, "█"),
        (1 / 96, "▏"),
        (7 / 96, "▉"),
        (9 / 96, "█▏"),
        (12 / 96, "█▌"),
        (95 / 96, "███████████▉"),
        (0.4 / 96, ""),  # nearer to nothing than to an eighth
        (0.6 / 96, "▏"),
        (95.6 / 96, "████████████"),
    ],
)
def test_a_share_is_drawn_to_an_eighth_of_a_cell(share: float, drawn: str) -> None:
    assert bar(share) == drawn


def test_more_cells_draw_the_same_share_longer() -> None:
    assert bar(0.5, cells=2) == "█"
    assert bar(0.5, cells=20) == "█" * 10
    assert bar(0.3, cells=1) == "▎"


def test_a_bar_never_shrinks_as_the_share_grows() -> None:
    levels = " ▏▎▍▌▋▊▉█"
    lengths = [sum(levels.index(cell) for cell in bar(share / 1000)) for share in range(1001)]
    assert lengths == sorted(lengths)
    assert set(lengths) == set(range(97))


@pytest.mark.parametrize(("share", "drawn"), [(-1.0, ""), (2.0, "█" * 12), (math.inf, "█" * 12), (math.nan, "")])
def test_what_is_no_share_is_drawn_as_the_nearest_or_not_at_all(share: float, drawn: str) -> None:
    assert bar(share) == drawn


UNSAFE = "a\x1b[31m\r\n\t\x07\x7f\x9b\u202e\u2066\u2028\x85\udcff"


@pytest.mark.parametrize("mode", [ProgressMode.plain, ProgressMode.rich, ProgressMode.none])
def test_nothing_that_the_console_writes_has_control_characters_of_names(
    mode: ProgressMode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(mode, quiet=False, json_output=False)
    console.report(Stage(UNSAFE, total=1, unit="images"))
    console.report(Step(1, {UNSAFE: UNSAFE}))
    console.report(Note(UNSAFE, "warning"))
    console.report(Facts(UNSAFE, ((UNSAFE, UNSAFE),)))
    console.lines(UNSAFE)
    console.table([UNSAFE, "b"], [[UNSAFE, 1.0]])
    table = tmp_path / "failures.csv"
    with table.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        csv.writer(stream).writerows([["input", "message"], [UNSAFE, UNSAFE]])
    console.failures(table)
    show_error("data", UNSAFE, 1)
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert r"a\x1b[31m" in text
        assert not set(UNSAFE) & set(text) - set("a[31m\n")


@pytest.mark.parametrize("count", [1, 3, 4, 60])
def test_failures_beyond_the_first_three_are_counted(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "failures.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["input", "kind", "message"])
        writer.writeheader()
        writer.writerows({"input": f"{n}.jpg", "kind": "data", "message": "is empty\nor not"} for n in range(count))
    console = Console(ProgressMode.none, quiet=True, json_output=False)
    console.failures(path)
    lines = capsys.readouterr().err.splitlines()
    assert sum("is empty" in line for line in lines) == min(count, 3)
    assert (f"failed: {count - 3} more, listed in {path}" in lines) == (count > 3)


FACTS = Facts("training", (("network", "mlnet"), ("learning rate", "0.001"), ("data", "6 images")))


@pytest.mark.parametrize("mode", [ProgressMode.plain, ProgressMode.rich, ProgressMode.none])
def test_facts_are_one_aligned_block_on_stderr(mode: ProgressMode, capsys: pytest.CaptureFixture[str]) -> None:
    Console(mode, quiet=False, json_output=False).report(FACTS)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "training",
        "  network        mlnet",
        "  learning rate  0.001",
        "  data           6 images",
    ]


def test_quiet_leaves_out_facts(capsys: pytest.CaptureFixture[str]) -> None:
    Console(ProgressMode.auto, quiet=True, json_output=False).report(FACTS)
    assert capsys.readouterr().err == ""
