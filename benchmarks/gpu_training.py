"""Compare training of `salgan` (SalGAN, arXiv 1701.01081) at 224x224 on a GPU with a plain fp32 loop.

The plain loop uses fp32, contiguous tensors and eager mode. The other variants use bf16 autocast and channels_last as
`train-saliency` does, with and without `--compile`. The script prints images per second of forward pass, loss,
backward pass and optimizer step, on batches that are already on the device.
"""

import argparse

import torch
from side_by_side import median_seconds, report
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

    def train_steps() -> None:
        for _ in range(steps):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast):
                maps = runnable(images)
            loss_of(maps.float(), targets, None).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return train_steps


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
    variants = {
        "plain fp32 loop": {"fast": False, "compiled": False},
        "bf16, channels_last": {"fast": True, "compiled": False},
        "bf16, channels_last, compiled": {"fast": True, "compiled": True},
    }
    if options.no_compile:
        del variants["bf16, channels_last, compiled"]
    functions = {
        name: trainer(device, (images, targets), steps=options.steps, **settings) for name, settings in variants.items()
    }
    medians = median_seconds(functions, options.rounds)
    report(medians, "plain fp32 loop", options.batch_size * options.steps)


if __name__ == "__main__":
    main()
