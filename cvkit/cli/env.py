"""Present ``cvkit env``."""

from typing import TYPE_CHECKING

from cvkit.cli.command import TOOLS, Command
from cvkit.cli.console import Console
from cvkit.config import EnvConfig
from cvkit.progress import Reporter

if TYPE_CHECKING:
    from cvkit.commands.env import EnvResult


def _run(config: EnvConfig, report: Reporter) -> "EnvResult":
    from cvkit.commands.env import describe_environment

    del config, report
    return describe_environment()


def _show(console: Console, result: "EnvResult") -> None:
    console.lines(f"cvkit {result.cvkit}", f"Python {result.python} on {result.platform}", "")
    console.lines("Devices", *(f"  {name}: {text}" for name, text in result.devices.items()), "")
    console.lines("Packages", *_versions(result.packages), "")
    console.lines("Optional packages", *_versions(result.optional), "")
    console.lines("Caches", *(f"  {name}: {path}" for name, path in result.caches.items()))


def _versions(packages: dict[str, str | None]) -> list[str]:
    return [f"  {name} {version or 'not installed'}" for name, version in packages.items()]


COMMAND = Command(
    name="env",
    help="Print versions, devices, caches and optional packages, for bug reports.",
    config=EnvConfig,
    run=_run,
    show=_show,
    panel=TOOLS,
    page="cli.md",
    settings=False,
    progress=False,
)
