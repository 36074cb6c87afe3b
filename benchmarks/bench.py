"""Run the benchmarks of this folder that need no GPU, and write one table with the machine beside it.

Every benchmark is a process of its own. bench.md (for docs/results.md) and bench.json are written after each of them. A
benchmark that fails is recorded, and the others still run. Run it on a machine that does nothing else.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from machine import describe_machine

from cvkit import files

HERE = Path(__file__).parent
COLUMNS = ("claim", "measured", "range", "peer", "script")
NETWORKS = ("vgg16", "resnet50", "mobilenet_v2")
NOTE = (
    "Medians and ranges over the rounds of one run. The compared variants alternate, and a ratio is that of one round."
)


@dataclass(frozen=True)
class Benchmark:
    """A script with its options."""

    script: str
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The command line, for messages."""
        return " ".join((self.script, *self.options))


# metrics_speed.py needs an environment of its own, because pysaliency requires an old setuptools.
BENCHMARKS = (
    Benchmark("startup.py"),
    Benchmark("cold_start.py"),
    Benchmark("process_speed.py", ("--model", "mobilenet_v2", "--images", "1000")),
    Benchmark("process_speed.py", ("--model", "vgg16", "--images", "100")),
    *(Benchmark("classify_speed.py", ("--model", name)) for name in NETWORKS),
    *(Benchmark("predict_speed.py", ("--backbone", name)) for name in NETWORKS),
    *(Benchmark("gradcam_speed.py", ("--model", name)) for name in NETWORKS),
    Benchmark("training_overhead.py"),
    Benchmark("classifier_training.py"),
    Benchmark("cae_speed.py"),
    Benchmark("export_speed.py"),
    Benchmark("predict_memory.py"),
)


def run(benchmark: Benchmark, extra: list[str]) -> list[dict[str, str]]:
    """Run one benchmark, and return its rows; one row with the last line of its output if it failed."""
    with tempfile.TemporaryDirectory() as name:
        target = Path(name) / "rows.json"
        command = [sys.executable, str(HERE / benchmark.script), *benchmark.options, *extra, "--json", str(target)]
        done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
        sys.stderr.write(done.stderr)
        if done.returncode != 0 or not target.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            failure = f"failed with exit code {done.returncode}: {last[:200]}"
            return [
                {"claim": benchmark.name, "measured": failure, "range": "–", "peer": "–", "script": benchmark.script}
            ]
        return [{**row, "script": benchmark.script} for row in json.loads(target.read_text(encoding="utf-8"))]


def table(rows: list[dict[str, str]], machine: dict[str, str]) -> str:
    """Return the Markdown page."""
    lines = [", ".join(f"{name} {value}" for name, value in machine.items()) + ".", "", NOTE, ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row[name].replace("|", "/") for name in COLUMNS) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks, and return 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for bench.md and bench.json")
    parser.add_argument("--only", default="", help="scripts to run, separated by commas")
    parser.add_argument("--rounds", help="number of timed rounds of every benchmark")
    options = parser.parse_args(arguments)
    wanted = set(filter(None, options.only.split(",")))
    if unknown := wanted - {each.script for each in BENCHMARKS}:
        print(f"--only: there is no benchmark {', '.join(sorted(unknown))} in the table.", file=sys.stderr)
        return 2
    chosen = [each for each in BENCHMARKS if not wanted or each.script in wanted]
    extra = ["--rounds", options.rounds] if options.rounds else []
    machine = describe_machine()
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    for number, benchmark in enumerate(chosen, start=1):
        print(f"[{number}/{len(chosen)}] {benchmark.name}", file=sys.stderr, flush=True)
        began = time.monotonic()
        rows += run(benchmark, extra)
        print(f"{benchmark.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        files.write_atomic(options.out / "bench.md", table(rows, machine))
        files.write_atomic(options.out / "bench.json", json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    print(table(rows, machine))
    return 1 if any(row["measured"].startswith("failed") for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
