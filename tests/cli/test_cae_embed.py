"""``cvkit cae-embed``, as the shell runs it."""

import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.test_idx import idx_bytes

from .conftest import Run, blobs

SMALL = ("--widths", "4,8", "--epochs", 2, "--batch-size", 16, "--device", "cpu")
MADE = {
    "embeddings.csv", "embedding.png", "curves.png", "reconstructions.png", "latent-grid.png", "metrics.json",
    "summary.txt", "history.csv", "config.json", "best.pt", "last.pt", "last.prev.pt",
}  # fmt: skip
KEYS = ["bce", "mse", "knn_accuracy", "trustworthiness", "continuity"]


@pytest.fixture(scope="session")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, trained for two epochs."""
    from cvkit.commands.cae_embed import cae_embed
    from cvkit.config import CaeEmbedConfig

    folder = tmp_path_factory.mktemp("runs") / "cae"
    cae_embed(CaeEmbedConfig(data=str(digits), widths=(4, 8), epochs=2, batch_size=16, device="cpu", out=str(folder)))
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_it_trains_embeds_measures_and_draws(run: Run, digits: Path) -> None:
    ended = run("cae-embed", "--data", digits, *SMALL, "--epochs", 12, "--lr", 0.01, "--out", "r")
    assert ended.code == 0, ended.err
    found = {path.name for path in Path("r").iterdir() if "tfevents" not in path.name}
    assert found == MADE | {".cvkit"}
    rows = rows_of(Path("r/embeddings.csv"))
    assert list(rows[0]) == ["image", "split", "label", "class_name", "z0", "z1"]
    assert [row["image"] for row in rows] == [*map(str, range(90)), *map(str, range(33))]
    assert [row["split"] for row in rows] == ["train"] * 90 + ["test"] * 33
    assert [row["label"] for row in rows[:4]] == ["0", "1", "2", "0"]
    metrics = json.loads(Path("r/metrics.json").read_text())
    assert list(metrics) == ["cae", "pca"]
    for scores in metrics.values():
        assert list(scores) == KEYS
        assert scores["knn_accuracy"] > 0.9  # the classes lie apart
        assert 0.5 < scores["trustworthiness"] <= 1 and 0.5 < scores["continuity"] <= 1
    history = rows_of(Path("r/history.csv"))
    assert float(history[-1]["val_loss"]) < float(history[0]["val_loss"])
    assert metrics["cae"]["bce"] == pytest.approx(float(history[-1]["val_loss"]), abs=1e-5)
    assert metrics["cae"]["mse"] == pytest.approx(float(history[-1]["val_mse"]), abs=1e-5)
    for word in ("cae", "pca", "knn_accuracy", "90 train and 33 test images embedded in r"):
        assert word in ended.out
    assert "decoder.output" in ended.err and Path("r/summary.txt").read_text() in ended.err
    for name in ("embedding.png", "curves.png", "reconstructions.png", "latent-grid.png"):
        assert np.asarray(Image.open(f"r/{name}")).std() > 5


def test_the_codes_written_are_those_of_the_network_written(trained: Path) -> None:
    import torch

    from cvkit.engine import checkpoint
    from cvkit.tasks.embedding.embedder import Embedder

    embedder = Embedder.from_metadata(checkpoint.load(trained / "best.pt", "autoencoder"))
    images, _ = blobs(33, 33)
    (codes,) = embedder.codes(torch.from_numpy(images)[:, None])
    rows = [row for row in rows_of(trained / "embeddings.csv") if row["split"] == "test"]
    written = np.array([[row["z0"], row["z1"]] for row in rows], np.float32)
    assert np.allclose(codes.numpy(), written, atol=1e-5)
    metrics = json.loads((trained / "metrics.json").read_text())["cae"]
    made = embedder.reconstruct(embedder.pixels(torch.from_numpy(images)[:, None]))
    assert metrics["mse"] == pytest.approx(float((made - torch.from_numpy(images)[:, None] / 255).square().mean()))


def test_the_same_seed_gives_the_same_file_and_another_seed_another(run: Run, digits: Path, trained: Path) -> None:
    for seed, out in ((0, "same"), (1, "other")):
        assert run("cae-embed", "--data", digits, *SMALL, "--seed", seed, "--out", out).code == 0
    assert Path("same/embeddings.csv").read_bytes() == (trained / "embeddings.csv").read_bytes()
    assert Path("same/metrics.json").read_bytes() == (trained / "metrics.json").read_bytes()
    assert Path("other/embeddings.csv").read_bytes() != (trained / "embeddings.csv").read_bytes()


@pytest.mark.slow
def test_a_stopped_run_resumed_gives_the_same_file(digits: Path) -> None:
    words = ["cae-embed", "--data", str(digits), "--widths", "4,8", "--epochs", "12", "--batch-size", "16"]
    words += ["--device", "cpu", "--denoise", "--dropout", "0.2", "--compare", "none"]

    def start(*more: str) -> subprocess.Popen[str]:
        # In processes of their own, alike: with more threads sums are added up in another order.
        command = [sys.executable, "-m", "cvkit", *words, *more]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    whole, process = start("--out", "whole"), start("--out", "parts")
    until = time.monotonic() + 60
    while not Path("parts/last.pt").is_file() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 75, told
    assert not Path("parts/embeddings.csv").exists()
    resumed = start("--out", "parts", "--resume")
    _, told = resumed.communicate(timeout=100)
    assert resumed.returncode == 0 and "resuming after epoch" in told
    whole.communicate(timeout=100)
    for name in ("embeddings.csv", "metrics.json"):
        assert Path("parts", name).read_bytes() == Path("whole", name).read_bytes()


def test_resuming_a_finished_run_makes_other_files_of_it(run: Run, digits: Path) -> None:
    words = ("cae-embed", "--data", digits, *SMALL, "--out", "r")
    assert run(*words).code == 0
    before = Path("r/embeddings.csv").read_bytes()
    ended = run(*words, "--resume", "--format", "npy,csv", "--embed", "test", "--compare", "none", "--html")
    assert ended.code == 0, ended.err
    assert np.load("r/embeddings.npy").shape == (33, 2)
    assert b"\r\n" not in before and len(rows_of(Path("r/embeddings.csv"))) == 33
    assert Path("r/embedding.html").is_file()
    assert list(json.loads(Path("r/metrics.json").read_text())) == ["cae"]
    assert run(*words, "--resume", "--latent-dim", 3).code == 1
    assert run(*words, "--resume", "--format", "npy").code == 0
    assert not Path("r/embeddings.csv").exists() and not Path("r/embedding.html").exists()  # of another time


def test_other_data_is_not_resumed_and_the_run_stays_as_it_was(run: Run, digits: Path, tmp_path: Path) -> None:
    words = ("cae-embed", *SMALL, "--out", "r")
    assert run(*words, "--data", digits).code == 0
    before = {path.name: path.read_bytes() for path in Path("r").iterdir() if path.is_file()}
    folder = tmp_path / "other"
    shutil.copytree(digits, folder)
    images, _ = blobs(90, 1)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    ended = run(*words, "--data", folder, "--epochs", 3, "--resume")
    assert ended.code == 1 and "was started with other images" in ended.err
    assert {path.name: path.read_bytes() for path in Path("r").iterdir() if path.is_file()} == before


def test_a_signal_after_the_last_epoch_leaves_before_embedding(
    run: Run, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cvkit.cli.console import Console

    report = Console.report

    def interrupt(self: Console, event: object) -> None:
        report(self, event)  # type: ignore[arg-type]
        if str(getattr(event, "text", "")).startswith("epoch 2:"):
            os.kill(os.getpid(), signal.SIGTERM)

    words = ("cae-embed", "--data", digits, *SMALL, "--out", "r")
    with monkeypatch.context() as patch:
        patch.setattr(Console, "report", interrupt)
        ended = run(*words)
    assert ended.code == 75 and "`cvkit resume r`" in ended.err and not Path("r/embeddings.csv").exists()
    assert run(*words, "--resume").code == 0 and Path("r/embeddings.csv").exists()


def test_a_checkpoint_embeds_without_training(run: Run, digits: Path, trained: Path) -> None:
    words = ("cae-embed", "--data", digits, "--checkpoint", trained, "--device", "cpu", "--out", "e")
    ended = run(*words, "--format", "csv,parquet,npy,projector")
    assert ended.code == 0, ended.err
    assert Path("e/embeddings.csv").read_bytes() == (trained / "embeddings.csv").read_bytes()
    assert Path("e/metrics.json").read_bytes() == (trained / "metrics.json").read_bytes()
    assert not {"best.pt", "history.csv", "curves.png"} & {path.name for path in Path("e").iterdir()}
    sprite = np.asarray(Image.open("e/projector/sprite.png"))
    images, _ = blobs(90, 90)
    assert np.array_equal(sprite[11:22, 9:18], images[13])  # 12 to a row: 123 images
    manifest = json.loads(Path("e/manifest.json").read_text())
    assert manifest["images"] == {"train": 90, "test": 33} and "embedding.png" in manifest["files"]
    again = run(*words, "--format", "csv,parquet,npy,projector", "--json")
    assert again.code == 0 and "is complete already" in again.err
    assert json.loads(again.out)["metrics"] == json.loads(Path("e/metrics.json").read_text())
    changed = run(*words)
    assert changed.code == 1 and "format was" in changed.err
    assert run(*words, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [("images", None), ("images", 3), ("failed", "x"), ("parameters", []), ("metrics", {"pca": {"colour": 1}})],
)
def test_a_damaged_manifest_of_a_complete_folder_is_one_line(
    run: Run, digits: Path, trained: Path, key: str, value: object
) -> None:
    words = ("cae-embed", "--data", digits, "--model", trained, "--device", "cpu", "--out", "e", "--embed", "test")
    assert run(*words, "--compare", "none").code == 0
    manifest = json.loads(Path("e/manifest.json").read_text())
    Path("e/manifest.json").write_text(json.dumps({**manifest, key: value}))
    ended = run(*words, "--compare", "none")
    assert ended.code == 1 and "manifest.json is damaged" in ended.err and ended.err.count("\n") == 1
    assert run(*words, "--compare", "none", "--overwrite").code == 0


def test_a_result_folder_of_a_mistake_is_free_and_edited_labels_are_seen(run: Run, digits: Path, trained: Path) -> None:
    words = ("cae-embed", "--data", digits, "--checkpoint", trained, "--device", "cpu", "--out", "e", "--embed", "test")
    assert run(*words, "--format", "projector", "--max-pixels", 5).code == 0
    Path("names.txt").write_text("top\nmiddle\nbottom\n")
    assert run(*words, "--labels", "names.txt", "--overwrite").code == 0
    assert not Path("e/projector/tensors.tsv").exists()
    Path("names.txt").write_text("a\nb\nc\n")
    ended = run(*words, "--labels", "names.txt")
    assert ended.code == 1 and "labels_sha256 was" in ended.err


def test_what_cannot_be_laid_out_is_left_out(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "equal"
    folder.mkdir()
    for number in range(20):
        Image.new("L", (8, 8), 90).save(folder / f"{number}.png")
    ended = run("cae-embed", "--data", folder, *SMALL, "--compare", "pca,tsne", "--html", "--out", "r")
    assert ended.code == 0, ended.err
    assert "t-SNE is left out" in ended.err and "RuntimeWarning" not in ended.err
    assert list(json.loads(Path("r/metrics.json").read_text())) == ["cae", "pca"]


@pytest.mark.parametrize("dimensions", [1, 5])
def test_other_numbers_in_a_code(run: Run, digits: Path, dimensions: int) -> None:
    words = ("--latent-dim", dimensions, "--compare", "pca,tsne", "--html", "--batch-norm", "--out", "r")
    ended = run("cae-embed", "--data", digits, *SMALL, *words)
    assert ended.code == 0, ended.err
    assert list(rows_of(Path("r/embeddings.csv"))[0])[4:] == [f"z{number}" for number in range(dimensions)]
    metrics = json.loads(Path("r/metrics.json").read_text())
    assert metrics["tsne"]["knn_accuracy"] is None and metrics["tsne"]["bce"] is None
    assert metrics["tsne"]["trustworthiness"] > 0.5


def test_denoising_reconstructs_from_noise(run: Run, digits: Path) -> None:
    ended = run("cae-embed", "--data", digits, *SMALL, "--denoise", "--noise-sigma", 0.5, "--out", "r", "--json")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    last = rows_of(Path("r/history.csv"))[-1]
    assert result["metrics"]["cae"]["bce"] == pytest.approx(float(last["val_loss"]), abs=1e-5)
    clean = run("cae-embed", "--data", digits, *SMALL, "--out", "clean", "--json")
    assert json.loads(clean.out)["metrics"]["pca"]["mse"] < result["metrics"]["pca"]["mse"]
    rows = np.asarray(Image.open("r/reconstructions.png")).shape[0]
    assert rows > 1.3 * np.asarray(Image.open("clean/reconstructions.png")).shape[0]  # one more row of pictures


def photographs(folder: Path, *names: str) -> Path:
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shape = (12 + number % 3, 15, 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return folder


def test_colour_photographs_of_mixed_sizes_and_a_bad_one(run: Run, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "p", *(f"{kind}/{number}.png" for kind in ("ant", "bee") for number in range(8)))
    (folder / "bee/broken.jpg").write_bytes(b"no image")
    words = ("cae-embed", "--data", folder, *SMALL, "--size", "10x14", "--out", "r", "--html")
    ended = run(*words)
    assert ended.code == 3, ended.err
    assert "failed: " in ended.err and "broken.jpg" in ended.err
    assert [Path(row["input"]).name for row in rows_of(Path("r/failures.csv"))] == ["broken.jpg"]
    rows = rows_of(Path("r/embeddings.csv"))
    assert len(rows) == 16 and {row["class_name"] for row in rows} == {"ant", "bee"}
    assert {Path(row["image"]) for row in rows} == set(folder.rglob("*.png"))
    strict = run(*words, "--strict", "--out", "strict")
    assert strict.code == 1 and "--strict" in strict.err
    (folder / "bee/broken.jpg").unlink()
    assert run(*words, "--resume").code == 0 and not Path("r/failures.csv").exists()


def test_a_flat_folder_has_no_classes(run: Run, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "p", *(f"{number}.png" for number in range(30)))
    ended = run("cae-embed", "--data", folder, *SMALL, "--size", "8x8", "--out", "r")
    assert ended.code == 0, ended.err
    assert ended.err.count("no labels for train and test") == 1
    assert {(row["label"], row["class_name"]) for row in rows_of(Path("r/embeddings.csv"))} == {("", "")}
    metrics = json.loads(Path("r/metrics.json").read_text())
    assert metrics["cae"]["knn_accuracy"] is None and metrics["cae"]["bce"] > 0
    assert "3 test images: trustworthiness and continuity use 1 neighbours" in ended.err


def test_names_of_classes_come_from_a_file(run: Run, digits: Path) -> None:
    Path("names.txt").write_text("top\nmiddle\nbottom\n")
    assert run("cae-embed", "--data", digits, *SMALL, "--labels", "names.txt", "--out", "r").code == 0
    assert [row["class_name"] for row in rows_of(Path("r/embeddings.csv"))[:3]] == ["top", "middle", "bottom"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--latent-dim", 0), 2, "--latent-dim must be 1 or more"),
        (("--widths", "a"), 2, "--widths 'a': write whole numbers"),
        (("--widths", "8,0"), 2, "--widths must be 1 or more, not 0"),
        (("--widths", "8," * 11), 2, "--widths: name 1 to 10 numbers of filters"),
        (("--embed", "tst"), 2, "--embed tst: the data has train and test only. Did you mean 'test'?"),
        (("--embed", "val"), 2, "--embed val: the data has train and test only"),
        (("--format", "cvs"), 2, "Did you mean 'csv'?"),
        (("--format", ","), 2, "--format is empty: name one or more of csv"),
        (("--compare", "lda"), 2, "--compare 'lda' is not one of"),
        (("--noise-sigma", 0), 2, "--noise-sigma must be above 0"),
        (("--noise-sigma", "inf"), 2, "--noise-sigma must be above 0"),
        (("--noise-sigma", 0.3), 2, "--noise-sigma has an effect only with --denoise"),
        (("--compare", "pca,none"), 2, "--compare none cannot be combined with other methods"),
        (("--data", ""), 2, "--data is empty"),
        (("--data", "x" * 300), 1, "File name too long"),
        (("--latent-dim", 10**12), 2, "--latent-dim must be at most 100000"),
        (("--checkpoint", "x", "--latent-dim", 7), 2, "is for training"),
        (("--test-fraction", 1), 2, "--test-fraction must be above 0 and below 1, not 1"),
        (("--limit", 1), 2, "--limit must be 2 or more"),
        (("--patience", 3), 2, "--patience needs a score to compare"),
        (("--best-metric", "mse"), 2, "--best-metric 'mse' is not one of last, loss"),
        (("--resume",), 2, "--resume needs --out"),
        (("--checkpoint", "x", "--size", "4x4"), 2, "is for training, but --model embeds without training"),
        (
            ("--checkpoint", "x", "--resume", "--out", "o"),
            2,
            "--resume continues a training run, but --model embeds without training",
        ),
        (("--checkpoint", "x", "--devices", 2), 2, "leave out --devices"),
        (("--data", "nowhere"), 1, "no such file or folder: nowhere"),
        (("--labels", "nowhere.txt"), 1, "--labels nowhere.txt cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_one_line(run: Run, digits: Path, words: tuple, code: int, message: str) -> None:
    ended = run("cae-embed", "--data", digits, *SMALL, "--quiet", *words)
    assert ended.code == code and message in ended.err
    assert ended.err.count("\n") == 1 and ended.out == ""


def test_a_network_that_does_not_fit_in_memory_is_refused_before_it_is_trained(
    run: Run, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cvkit.commands.cae_embed import training

    monkeypatch.setattr(training, "free_memory", lambda: 1000)
    ended = run("cae-embed", "--data", digits, *SMALL, "--quiet")
    assert ended.code == 2 and "the network does not fit in memory: use smaller --widths" in ended.err


def broken_header(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(b"\x01\x02" + gzip.decompress(path.read_bytes())[2:]))


def other_length(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(32, np.uint8)))


def one_image(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    photographs(folder, "only.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (broken_header, "train-images-idx3-ubyte.gz: not an IDX file (its header is broken)."),
        (other_length, "t10k-labels-idx1-ubyte: 32 labels for 33 images."),
        (one_image, "no test images; 2 are needed to train on, and one to test."),
    ],
)
def test_data_that_cannot_be_used_is_one_line(
    run: Run, digits: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(digits, folder)
    spoil(folder)
    ended = run("cae-embed", "--data", folder, *SMALL, "--quiet", "--out", "r")
    assert ended.code == 1 and message in ended.err
    assert ended.err.count("\n") == 1 and ended.out == ""


def no_labels(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").unlink()


def one_class(folder: Path) -> None:
    for split, count in (("train", 90), ("t10k", 33)):
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx_bytes(np.full(count, 4, np.uint8)))


@pytest.mark.parametrize(("spoil", "remark"), [(no_labels, "no labels for test:"), (one_class, "are of one class:")])
def test_data_without_classes_embeds_and_says_so_in_a_line(
    run: Run, digits: Path, tmp_path: Path, spoil: Callable[[Path], None], remark: str
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(digits, folder)
    spoil(folder)
    ended = run("cae-embed", "--data", folder, *SMALL, "--out", "r", "--html")
    assert ended.code == 0, ended.err
    assert ended.err.count(remark) == 1
    assert json.loads(Path("r/metrics.json").read_text())["pca"]["knn_accuracy"] is None
    assert "10-NN" in next(line for line in ended.err.splitlines() if remark in line)


def test_two_processes_train_and_one_embeds(run: Run, digits: Path) -> None:
    command = [sys.executable, "-m", "cvkit", "cae-embed", "--data", str(digits), *map(str, SMALL)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--devices", "2", "--out", "two"], capture_output=True, text=True, env=environment, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert len(rows_of(Path("two/embeddings.csv"))) == 123
    assert done.stdout.count("images embedded in two") == 1
    assert run("cae-embed", "--data", digits, "--checkpoint", "two", "--device", "cpu", "--out", "e").code == 0
    assert Path("e/embeddings.csv").read_bytes() == Path("two/embeddings.csv").read_bytes()


def test_a_checkpoint_that_is_not_there_is_refused(run: Run, digits: Path) -> None:
    ended = run("cae-embed", "--data", digits, "--checkpoint", "nowhere")
    assert ended.code == 1 and "nowhere: no such run folder, file or model" in ended.err


def test_a_checkpoint_of_another_kind_is_refused(run: Run, digits: Path, tmp_path: Path) -> None:
    from cvkit.engine import checkpoint

    checkpoint.save(tmp_path / "saliency.pt", "saliency", {"weights": {}})
    ended = run("cae-embed", "--data", digits, "--checkpoint", tmp_path / "saliency.pt")
    assert ended.code == 1 and "kind 'saliency'; this command needs one of kind 'autoencoder'" in ended.err


@pytest.mark.shared
def test_a_short_run_on_fashion_mnist_beats_pca(run: Run, shared: Path) -> None:
    data = shared / "data/fashion-mnist"
    ended = run("cae-embed", "--data", data, "--limit", 6000, "--epochs", 6, "--out", "r", "--json", "--quiet")
    metrics = json.loads(ended.out)["metrics"]
    for name in ("knn_accuracy", "trustworthiness", "continuity"):
        assert metrics["cae"][name] > metrics["pca"][name]
    assert metrics["cae"]["bce"] < metrics["pca"]["bce"]
    assert rows_of(Path("r/embeddings.csv"))[0]["class_name"] in ("T-shirt/top", "Ankle boot", "Pullover", "Trouser")
