"""Test the noise of images."""

import numpy as np
import torch

from cvkit.tasks.embedding.noise import image_noise


def test_noise_depends_on_the_image_and_not_on_its_batch() -> None:
    whole = image_noise(np.arange(200), (1, 3, 2), seed=4)
    assert whole.shape == (200, 1, 3, 2)
    some = np.array([130, 3, 64, 63, 3])
    assert torch.equal(image_noise(some, (1, 3, 2), seed=4), whole[torch.from_numpy(some)])


def test_noise_is_standard_normal_and_differs_between_images_and_seeds() -> None:
    noise = image_noise(np.arange(300), (1, 28, 28), seed=0)
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert len(torch.unique(noise[:, 0, 0, 0])) == 300
    assert not torch.equal(noise, image_noise(np.arange(300), (1, 28, 28), seed=1))
