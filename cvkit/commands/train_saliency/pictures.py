"""Draw sample predictions of a saliency network in training."""

from pathlib import Path

import torch

from cvkit import render
from cvkit.data.images import read_image
from cvkit.tasks.saliency.data.dataset import SaliencyDataset
from cvkit.tasks.saliency.predictor import SaliencyPredictor


def sample_sheet(predictor: SaliencyPredictor, data: SaliencyDataset, count: int, max_pixels: int) -> bytes:
    """Return a PNG with input, human map and predicted map of some images.

    Args:
        predictor: The network.
        data: The images.
        count: Number of images to draw, at equal distances in the data; at least 1.
        max_pixels: Images with more pixels are refused.
    """
    count = min(count, len(data))
    indices = [round(i * (len(data) - 1) / max(1, count - 1)) for i in range(count)]
    rows, captions = [], []
    samples = [data[(0, index)] for index in indices]
    images = torch.stack([sample["image"] for sample in samples])
    maps = predictor(images, [predictor.size] * len(images))
    for index, sample, predicted in zip(indices, samples, maps, strict=True):
        image = read_image(data.examples[index].image, max_pixels)
        target = sample["target"][0].numpy()
        rows.append([image, render.colourise(target), render.colourise(predicted.float().cpu().numpy())])
        captions.append(Path(data.name(index)).name)
    sheet = render.contact_sheet(rows, titles=["input", "human", "predicted"], captions=captions)
    return render.encode_png(sheet)
