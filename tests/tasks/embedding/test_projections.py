"""Test the projections that an autoencoder is compared with."""

import importlib.util

import numpy as np
import pytest

from cvkit.errors import UsageError
from cvkit.tasks.embedding import projections
from cvkit.tasks.embedding.projections import CodePlane, Pca, can_project, short_seed, tsne

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 1, 4, 5), dtype=np.uint8)


def test_pca_equals_the_singular_value_decomposition() -> None:
    flat = IMAGES.reshape(60, 20) / 255
    centred = flat - flat.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    pca = Pca(IMAGES, 2, seed=0)
    codes = pca.encode(IMAGES)
    assert codes.dtype == np.float32 and codes.shape == (60, 2)
    assert np.allclose(np.abs(codes), np.abs(centred @ directions[:2].T), atol=1e-5)
    expected = flat.mean(0) + centred @ directions[:2].T @ directions[:2]
    assert np.allclose(pca.reconstruct(flat.astype(np.float32)), expected, atol=1e-5)
    assert pca.fitted_on == 60


def test_pca_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pca = Pca(IMAGES, 3, seed=0)
    whole = pca.encode(IMAGES)
    monkeypatch.setattr(projections, "BLOCK_SIZE", 7)
    assert np.allclose(pca.encode(IMAGES), whole, atol=1e-6)


def test_pca_of_many_images_is_fitted_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections, "MAX_FIT_BYTES", 4 * 20 * 10)
    assert Pca(IMAGES, 2, seed=0).fitted_on == 10


def test_components_beyond_the_number_of_images_are_zero() -> None:
    codes = Pca(IMAGES[:2], 5, seed=0).encode(IMAGES)
    assert codes.shape == (60, 5) and not codes[:, 2:].any()


def test_two_dimensional_codes_are_the_coordinates() -> None:
    codes = RNG.normal(size=(9, 2)).astype(np.float32)
    plane = CodePlane(codes, 0)
    assert plane.axes == ("z0", "z1") and np.array_equal(plane.to_plane(codes), codes)
    assert np.array_equal(plane.to_codes(codes), codes)


def test_one_dimensional_codes_get_a_random_coordinate_and_are_restored() -> None:
    codes = RNG.normal(size=(9, 1)).astype(np.float32)
    plane = CodePlane(codes, 0)
    points = plane.to_plane(codes)
    assert np.array_equal(points[:, :1], codes) and points[:, 1].std() > 0.2
    assert np.array_equal(plane.to_codes(points), codes)


def test_codes_of_more_dimensions_are_projected_onto_principal_components() -> None:
    codes = np.outer(RNG.normal(size=30), [3, 0, 4, 0]).astype(np.float32) + np.float32(1)
    plane = CodePlane(codes, 0)
    points = plane.to_plane(codes)
    assert points.shape == (30, 2) and np.abs(points[:, 1]).max() < 1e-4
    assert np.allclose(plane.to_codes(points), codes, atol=1e-4)


def test_few_or_equal_images_cannot_be_projected() -> None:
    assert can_project(IMAGES[:5]) and not can_project(IMAGES[:4])
    assert not can_project(np.full((30, 1, 4, 5), 7, np.uint8))
    assert not Pca(np.full((30, 1, 4, 5), 7, np.uint8), 2, seed=0).encode(IMAGES[:0]).any()  # no warning is raised


def test_tsne_projects_few_images() -> None:
    assert projections.tsne(IMAGES[:5], 0).shape == (5, 2)
    assert np.array_equal(projections.tsne(IMAGES[:20], 1), projections.tsne(IMAGES[:20], 1))


def test_the_message_says_how_to_install_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'cvkit\[umap\]'"):
        projections.require_umap()


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_a_seed_of_32_bits_stays_as_it_is(seed: int) -> None:
    assert short_seed(seed) == seed


def test_long_seeds_differ_in_32_bits() -> None:
    """scikit-learn refuses longer seeds; those that differ in their high bits only still give other numbers."""
    seeds = [short_seed(high << 32 | 5) for high in range(1, 200)] + [short_seed(2**64 - 1)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**32 for seed in seeds)


def test_projections_take_a_seed_of_64_bits() -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4), dtype=np.uint8)
    assert Pca(images, 2, 2**64 - 1).encode(images).shape == (12, 2)
    assert tsne(images, 2**64 - 1).shape == (12, 2)
    assert CodePlane(images.reshape(12, -1).astype(np.float32), 2**64 - 1).dimensions == 16
