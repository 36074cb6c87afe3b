import errno
import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.client import IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from cvkit.catalog import Pretrained
from cvkit.errors import OutputError, WeightsError
from cvkit.models import fetch
from cvkit.models.fetch import cached, download, offline_hint
from cvkit.models.published.pretrained import facts
from cvkit.progress import Event, Note, Stage, StageEnd, Step

CONTENT = b"some tensors" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
GOOD = f"net-{DIGEST[:8]}.pth"
BAD = "net-00000000.pth"


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT; sends fewer bytes than announced at /broken, and an error 404 at /missing."""

    asked: list[str] = []  # noqa: RUF012 (emptied by the fixture)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) + (10 if self.path.startswith("/broken") else 0)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a local server and return its address; the cache of torch hub is empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Server.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def entry_at(source: str) -> Pretrained:
    return replace(facts("vgg16"), model="net", tag="V1", source=source, file_bytes=len(CONTENT))


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_is_downloaded_once_into_the_cache_of_torch_hub(server: str, tmp_path: Path) -> None:
    entry, events = entry_at(f"{server}/models/{GOOD}?x=1"), list[Event]()
    assert cached(entry) is None
    path = download(entry, events.append)
    assert path == tmp_path / "torch/hub/checkpoints" / GOOD
    assert path.read_bytes() == CONTENT
    assert events == [
        Note(f"Downloading the weights net.V1 ({entry.source}, 0 MB)."),
        Stage("downloading net.V1", 0, "MB"),
        Step(0),
        StageEnd(),
    ]
    assert cached(entry) == path
    assert download(entry, events.append) == path
    assert (len(Server.asked), len(events)) == (1, 4)


def test_torch_hub_finds_the_downloaded_file(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import hub

    path = download(entry_at(f"{server}/{GOOD}"))
    monkeypatch.setattr(hub, "download_url_to_file", lambda *_args, **_more: pytest.fail("downloaded again"))
    monkeypatch.setattr("torch.load", lambda file, **_more: {"read": Path(file)})
    assert hub.load_state_dict_from_url(f"{server}/{GOOD}") == {"read": path}


def test_nothing_goes_to_stdout(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    download(entry_at(f"{server}/{GOOD}"))
    assert capsys.readouterr() == ("", "")


def test_a_file_with_another_hash_is_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"its hash is not that of the weights net\.V1") as caught:
        download(entry_at(f"{server}/{BAD}"))
    assert str(caught.value).endswith(offline_hint("net.V1"))
    assert kept(tmp_path) == []


@pytest.mark.parametrize("damaged", [b"", CONTENT[:-1], CONTENT + b"!"])
def test_a_damaged_file_in_the_cache_is_downloaded_again(server: str, tmp_path: Path, damaged: bytes) -> None:
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    (folder / GOOD).write_bytes(damaged)
    events = list[Event]()
    assert download(entry_at(f"{server}/{GOOD}"), events.append).read_bytes() == CONTENT
    assert isinstance(events[0], Note)
    assert "is damaged" in events[0].text
    assert kept(tmp_path) == [GOOD]


def test_a_damaged_file_is_deleted_even_if_the_download_fails(server: str, tmp_path: Path) -> None:
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    (folder / GOOD).write_bytes(b"damaged")
    with pytest.raises(WeightsError):
        download(entry_at(f"{server}/missing/{GOOD}"))
    assert kept(tmp_path) == []


def test_the_target_of_a_link_made_by_the_user_is_kept(server: str, tmp_path: Path) -> None:
    folder, own = tmp_path / "torch/hub/checkpoints", tmp_path / "own.pth"
    folder.mkdir(parents=True)
    own.write_bytes(b"of the user")
    (folder / GOOD).symlink_to(own)
    assert download(entry_at(f"{server}/{GOOD}")).read_bytes() == CONTENT
    assert own.read_bytes() == b"of the user"


def test_a_broken_connection_leaves_no_file(server: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"broke after 12000 of 12010 bytes|IncompleteRead") as caught:
        download(entry_at(f"{server}/broken/net.pth"))
    assert str(caught.value).endswith(offline_hint("net.V1"))
    assert kept(tmp_path) == []


def test_a_download_reports_its_progress_in_megabytes(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_MEGABYTE", 1000)
    monkeypatch.setattr(fetch, "_CHUNK_BYTES", 5000)
    events = list[Event]()
    download(entry_at(f"{server}/{GOOD}"), events.append)
    assert events[1:] == [Stage("downloading net.V1", 12, "MB"), Step(5), Step(10), Step(12), StageEnd()]


def test_a_missing_file_is_an_error_that_ends_in_the_offline_hint(server: str) -> None:
    with pytest.raises(WeightsError, match=r"cannot be downloaded \(.*404.*Not Found\)") as caught:
        download(entry_at(f"{server}/missing/{GOOD}"))
    assert str(caught.value).endswith(offline_hint("net.V1"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (URLError(OSError(-2, "Name or service not known")), r"\(Name or service not known\)"),
        (URLError(TimeoutError("timed out")), r"\(timed out\)"),
        (TimeoutError(), r"\(TimeoutError\)"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), r"\(Connection reset by peer\)"),
        (IncompleteRead(b"12", 3), "IncompleteRead"),
        (ValueError("unknown url type"), "unknown url type"),
    ],
)
def test_without_a_network_the_error_is_one_line_that_ends_in_the_offline_hint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, reason: str
) -> None:
    def fail(*_args: Any, **_more: Any) -> None:
        raise error

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(fetch, "urlopen", fail)
    with pytest.raises(WeightsError, match=reason) as caught:
        download(facts("vgg16"))
    assert str(caught.value).endswith(offline_hint("vgg16.IMAGENET1K_V1"))
    assert "\n" not in str(caught.value)


def test_a_timeout_during_a_download_is_a_weights_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Silent(io.BytesIO):
        headers: dict[str, str] = {}  # noqa: RUF012

        def read1(self, *_args: Any) -> bytes:
            raise TimeoutError("The read operation timed out")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(fetch, "urlopen", lambda *_args, **_more: Silent())
    with pytest.raises(WeightsError, match="The read operation timed out"):
        download(facts("vgg16"))
    assert kept(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_an_output_error(server: str, tmp_path: Path) -> None:
    (tmp_path / "torch").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="cannot write"):
        download(entry_at(f"{server}/{GOOD}"))


def test_a_model_without_published_weights_is_an_error() -> None:
    entry = facts("timm:resnet50t")
    assert cached(entry) is None
    with pytest.raises(WeightsError, match=r"no pretrained weights of timm:resnet50t"):
        download(entry)


def test_the_offline_hint_names_the_command_and_the_option() -> None:
    assert "`cvkit models download vgg16`" in offline_hint("vgg16")
    assert "--weights FILE" in offline_hint("vgg16")
