"""Train as a JSON file says, and kill this process at an epoch and step of it, as a batch system would."""

import json
import os
import signal
import sys
from pathlib import Path

from cvkit.commands.train_saliency import train_saliency
from cvkit.config import TrainSaliencyConfig
from cvkit.progress import Event, Stage, Step


def main(path: str) -> None:
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    kill_at = settings["kill_at"]
    epoch = 0

    def report(event: Event) -> None:
        nonlocal epoch
        if isinstance(event, Stage) and event.title.startswith("epoch "):
            epoch = int(event.title.removeprefix("epoch ").partition("/")[0])
        if kill_at is not None and isinstance(event, Step) and [epoch, event.done] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    train_saliency(TrainSaliencyConfig.from_dict(settings["config"]), report)


if __name__ == "__main__":
    main(sys.argv[1])
