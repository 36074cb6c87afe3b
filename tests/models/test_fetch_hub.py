import errno
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError

from cvkit.errors import OutputError, WeightsError
from cvkit.models import fetch
from cvkit.models.fetch import cached, download, offline_hint
from cvkit.models.published.pretrained import facts
from cvkit.progress import Event, Note

CONTENT = b"some tensors" * 1000
COMMIT = "0123456789" * 4
RESNET = facts("timm:resnet18")


class Hub:
    """Replaces the Hugging Face hub; puts its files into the cache as the real client does."""

    def __init__(self, cache: Path, links: bool = True) -> None:
        self.cache, self.links = cache, links
        self.files = {"model.safetensors": CONTENT}
        self.reported_hashes: dict[str, str] = {}  # the hashes that the hub reports, if they differ from the SHA-256
        self.requests: list[tuple[str, str, str | None]] = []

    def digest(self, name: str) -> str:
        return self.reported_hashes.get(name, hashlib.sha256(self.files[name]).hexdigest())

    def put(self, repository: str, name: str, content: bytes) -> Path:
        folder = self.cache / f"models--{repository.replace('/', '--')}"
        pointer = folder / "snapshots" / COMMIT / name
        for parent in (pointer.parent, folder / "blobs", folder / "refs"):
            parent.mkdir(parents=True, exist_ok=True)
        (folder / "refs/main").write_text(COMMIT)
        if self.links:
            (folder / "blobs" / self.digest(name)).write_bytes(content)
            pointer.symlink_to(Path("../../blobs") / self.digest(name))
        else:
            pointer.write_bytes(content)
        return pointer

    def hf_hub_download(self, repository: str, name: str, *, revision: str | None) -> str:
        self.requests.append((repository, name, revision))
        if name not in self.files:
            raise EntryNotFoundError(f"no {name}")
        return str(self.put(repository, name, self.files[name]))

    def get_hf_file_metadata(self, url: str) -> Any:
        name = url.rsplit("/", 1)[1]
        return type("Metadata", (), {"etag": self.digest(name)})


@pytest.fixture(params=[True, False], ids=["links", "copies"])
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Hub:
    hub = Hub(tmp_path, links=request.param)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("hf_hub_download", "get_hf_file_metadata"):
        monkeypatch.setattr(huggingface_hub, name, getattr(hub, name))
    monkeypatch.setattr(fetch, "_check_hub_answers", lambda _: None)
    return hub


def test_an_unreachable_hub_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # a port without a server
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: pytest.fail("the hub was contacted"))
    with pytest.raises(WeightsError, match="refused") as caught:
        download(RESNET)
    assert str(caught.value).endswith(offline_hint(RESNET.name))


def test_a_file_is_downloaded_once_into_the_cache_of_the_hub(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    events = list[Event]()
    assert cached(RESNET) is None
    path = download(RESNET, events.append)
    assert path.name == "model.safetensors"
    assert path.read_bytes() == CONTENT
    assert cached(RESNET) == path
    assert download(RESNET) == path
    assert hub.requests == [("timm/resnet18.a1_in1k", "model.safetensors", None)]
    assert events == [Note("Downloading the weights timm:resnet18.a1_in1k (timm/resnet18.a1_in1k).")]
    assert capsys.readouterr() == ("", "")


def test_without_safetensors_the_bin_file_is_downloaded(hub: Hub) -> None:
    hub.files = {"pytorch_model.bin": CONTENT}
    path = download(RESNET)
    assert path.name == "pytorch_model.bin"
    assert cached(RESNET) == path


def test_the_named_revision_and_file_are_downloaded(hub: Hub) -> None:
    hub.files = {"open_clip_model.safetensors": CONTENT}
    entry = replace(RESNET, source="owner/name@v2/open_clip_model.safetensors")
    assert download(entry).read_bytes() == CONTENT
    assert hub.requests == [("owner/name", "open_clip_model.safetensors", "v2")]


def test_a_repository_without_weights_is_an_error(hub: Hub) -> None:
    hub.files = {}
    with pytest.raises(WeightsError, match=r"resnet18\.a1_in1k holds no model\.safetensors or pytorch_model\.bin"):
        download(RESNET)


def test_a_file_of_the_hub_with_another_hash_is_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.reported_hashes = {"model.safetensors": "0" * 64}
    with pytest.raises(WeightsError, match="its hash is not that") as caught:
        download(RESNET)
    assert str(caught.value).endswith(offline_hint(RESNET.name))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["main"]


def test_a_damaged_file_of_the_hub_is_downloaded_again(hub: Hub) -> None:
    if not hub.links:
        pytest.skip("without links the cache does not contain the hash")
    damaged = hub.put("timm/resnet18.a1_in1k", "model.safetensors", CONTENT[:-1])
    assert cached(RESNET) == damaged
    assert download(RESNET).read_bytes() == CONTENT
    assert len(hub.requests) == 1


def test_a_file_without_a_sha256_on_the_hub_is_accepted(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.reported_hashes = {"model.safetensors": "b" * 40}  # for small files the hub reports the hash of git
    assert download(RESNET).read_bytes() == CONTENT

    def fail(_url: str) -> None:
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", fail)
    assert download(replace(RESNET, source="timm/resnet18.a2_in1k")).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            LocalEntryNotFoundError("Cannot find the files, and the hub is not reached.\nMore."),
            "the hub is not reached",
        ),
        (ConnectionError("offline mode is enabled"), "offline mode is enabled"),
        (RuntimeError("another error of the client"), "another error of the client"),
    ],
)
def test_an_error_of_the_hub_is_one_line_that_ends_in_the_offline_hint(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_args: Any, **_more: Any) -> None:
        hub.requests.append(("", "", None))
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(WeightsError, match=reason) as caught:
        download(RESNET)
    assert str(caught.value).endswith(offline_hint(RESNET.name))
    assert "\n" not in str(caught.value)
    assert len(hub.requests) == 1


def test_a_full_disk_is_an_output_error(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_more: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(OutputError, match=r"No space left on device.*HF_HOME"):
        download(RESNET)
    assert hub.requests == []


def test_offline_mode_is_an_error_that_ends_in_the_offline_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        download(RESNET)
    assert str(caught.value).endswith(offline_hint(RESNET.name))
    assert "\n" not in str(caught.value)
