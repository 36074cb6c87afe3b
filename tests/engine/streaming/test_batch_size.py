"""Test the search for the number of images per batch."""

from collections.abc import Callable

from cvkit.engine.streaming.batch_size import MAX_BATCH, TRIALS, BatchSize


def sizes(size: BatchSize, seconds: Callable[[int], float], batches: int = 60) -> list[int]:
    """Run batches that take ``seconds(images)``, and return their sizes, each once per change."""
    seen = [size.images]
    for _ in range(batches):
        size.add_time(size.images, seconds(size.images))
        if size.images != seen[-1]:
            seen.append(size.images)
    return seen


def test_it_doubles_while_an_image_gets_faster_and_then_keeps_the_fastest() -> None:
    size = BatchSize(8, lambda: True)
    assert sizes(size, lambda images: 0.1 + 0.01 * images if images < 64 else 0.02 * images) == [8, 16, 32, 64, 32]


def test_it_stays_if_doubling_does_not_pay() -> None:
    assert sizes(BatchSize(32, lambda: True), lambda images: 0.01 * images) == [32, 64, 32]


def test_it_stays_where_memory_does_not_suffice_and_where_it_must_not_grow() -> None:
    assert sizes(BatchSize(32, lambda: False), lambda _: 1.0) == [32]
    assert sizes(BatchSize(32), lambda _: 1.0) == [32]


def test_it_has_an_upper_bound() -> None:
    assert sizes(BatchSize(32, lambda: True), lambda _: 1.0)[-1] == MAX_BATCH


def test_the_first_batch_of_a_size_and_smaller_ones_do_not_count() -> None:
    size = BatchSize(32, lambda: True)
    size.add_time(32, 100.0)
    for _ in range(TRIALS - 1):
        size.add_time(32, 1.0)
        size.add_time(7, 0.001)
    assert size.images == 32
    size.add_time(32, 1.0)
    assert size.images == 64


def test_out_of_memory_halves_the_number_for_good() -> None:
    size = BatchSize(32, lambda: True)
    assert size.out_of_memory(32) and size.images == 16
    assert not size.out_of_memory(32) and size.images == 16  # the other half of the same batch
    assert sizes(size, lambda _: 1.0) == [16]
    assert size.out_of_memory(2) and size.images == 1
    assert not size.out_of_memory(1) and size.images == 1
