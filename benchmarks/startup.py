"""Compare the start of `cvkit --help` and `cvkit train-saliency --help` with that of `python -c "import torch"`."""

import argparse
import subprocess
import sys

from side_by_side import median_seconds, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    def process(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    functions = {
        "import torch": lambda: process("-c", "import torch"),
        "cvkit --help": lambda: process("-m", "cvkit", "--help"),
        "cvkit train-saliency --help": lambda: process("-m", "cvkit", "train-saliency", "--help"),
    }
    report(median_seconds(functions, options.rounds), "import torch")


if __name__ == "__main__":
    main()
