"""Test the choice of the best epoch and the description of an epoch."""

from cvkit.engine.training.history import best_epoch, describe_epoch

HISTORY = [
    {"epoch": 1, "val_loss": 3.0, "val_cc": 0.4, "val_kl": 0.9},
    {"epoch": 2, "val_loss": 1.0, "val_cc": 0.5, "val_kl": 0.7},
    {"epoch": 3, "val_loss": 2.0, "val_cc": 0.6, "val_kl": 0.7},
]


def test_the_direction_of_the_metric_decides() -> None:
    assert best_epoch(HISTORY, "cc") == 3
    assert best_epoch(HISTORY, "loss") == 2
    assert best_epoch(HISTORY, "kl") == 2  # the first one of equal epochs


def test_last_means_the_last_epoch() -> None:
    assert best_epoch(HISTORY, "last") == 3 and best_epoch(HISTORY[:1], "last") == 1


def test_epochs_without_the_score_are_left_out_and_the_loss_decides_if_all_lack_it() -> None:
    assert best_epoch([*HISTORY[:2], {"epoch": 3, "val_loss": 0.1}], "cc") == 2
    assert best_epoch(HISTORY, "nss") == 2


def test_an_epoch_is_described_in_one_line() -> None:
    row = {"epoch": 2, "lr": 0.1, "train_loss": 0.25, "val_cc": 0.5, "images_per_second": 12.34, "busy": 0.5}
    line = "epoch 2: train_loss 0.2500  cc 0.5000  12.3 images/s, model busy 50%"
    assert describe_epoch(row, best=False) == line
    assert describe_epoch(row, best=True) == f"{line}  (best)"
