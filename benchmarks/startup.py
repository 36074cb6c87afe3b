"""Compare the start of `cvkit --help` and `cvkit train-saliency --help` with that of `python -c "import torch"`."""

import subprocess
import sys

from side_by_side import make_parser, publish, report, slower, time_rounds

BASE = 'python -c "import torch"'


def main() -> None:
    options = make_parser(__doc__, rounds=7).parse_args()

    def process(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    commands = {"cvkit --help": ("--help",), "cvkit train-saliency --help": ("train-saliency", "--help")}
    functions = {BASE: lambda: process("-c", "import torch")}
    for name, words in commands.items():
        functions[name] = lambda words=words: process("-m", "cvkit", *words)
    times = time_rounds(functions, options.rounds)
    report(times, BASE)
    publish([slower(times, name, BASE, f"`{name}`") for name in commands], options.json)


if __name__ == "__main__":
    main()
