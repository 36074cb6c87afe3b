"""`salgan` at 224x224 as `train-saliency` trains it on a GPU, against the plain fp32 loop of document 001.

The plain loop is fp32, contiguous, eager. Ours is bf16 autocast with channels_last, with and without `--compile`.
Images per second of forward, loss, backward and step on batches that are on the device already.
"""

import argparse

import torch
from side_by_side import report, seconds
from torch import Tensor, nn

from cvkit.tasks.saliency.losses import make_loss
from cvkit.tasks.saliency.networks.base import SaliencySpec
from cvkit.tasks.saliency.networks.build import build


def trainer(device: torch.device, batch: tuple[Tensor, Tensor], *, fast: bool, compiled: bool, steps: int):
    """Return a function that takes ``steps`` training steps and waits for the device."""
    torch.manual_seed(0)
    model: nn.Module = build(SaliencySpec.of("salgan")).to(device).train()
    images, targets = batch
    if fast:
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    runnable = torch.compile(model) if compiled else model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    loss_of = make_loss("bce")

    def work() -> None:
        for _ in range(steps):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast):
                maps = runnable(images)
            loss_of(maps.float(), targets, None).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    images = torch.randn(options.batch_size, 3, options.size, options.size, device=device)
    targets = torch.rand(options.batch_size, 1, options.size, options.size, device=device)
    ways = {
        "plain fp32 loop of document 001": {"fast": False, "compiled": False},
        "bf16, channels_last": {"fast": True, "compiled": False},
        "bf16, channels_last, compiled": {"fast": True, "compiled": True},
    }
    if options.no_compile:
        del ways["bf16, channels_last, compiled"]
    works = {
        name: trainer(device, (images, targets), steps=options.steps, **settings) for name, settings in ways.items()
    }
    medians = seconds(works, options.rounds)
    report(medians, "plain fp32 loop of document 001", options.batch_size * options.steps)


if __name__ == "__main__":
    main()
