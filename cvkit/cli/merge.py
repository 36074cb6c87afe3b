"""Present ``cvkit merge``."""

from typing import TYPE_CHECKING

from cvkit.cli.batches import exit_partial
from cvkit.cli.command import USE, Command
from cvkit.cli.console import Console
from cvkit.config import MergeConfig
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.merge import MergeResult


def _run(config: MergeConfig, report: Reporter) -> "MergeResult":
    from cvkit.commands.merge import merge

    return merge(config, report)


def _show(console: Console, result: "MergeResult") -> None:
    failed = f", {result.failed} failed (failures.csv)" if result.failed else ""
    console.lines(f"{result.done} results of cvkit {result.command} in {result.folder}{failed}")
    if result.failed:
        exit_partial(console, result.folder)


COMMAND = Command(
    name="merge",
    help="Join result folders whose parts (--shard) were computed on different machines. Writes the folder that one "
    "process would have written.",
    config=MergeConfig,
    run=_run,
    show=_show,
    panel=USE,
    page="merge.md",
)
