"""`cvkit --help` and `cvkit train-saliency --help` against `python -c "import torch"`: whole processes, in turn."""

import argparse
import subprocess
import sys

from side_by_side import report, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    def process(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    ways = {
        "import torch": lambda: process("-c", "import torch"),
        "cvkit --help": lambda: process("-m", "cvkit", "--help"),
        "cvkit train-saliency --help": lambda: process("-m", "cvkit", "train-saliency", "--help"),
    }
    report(seconds(ways, options.rounds), "import torch")


if __name__ == "__main__":
    main()
