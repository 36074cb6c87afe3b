"""Test that every download ends in time with the good message, whatever the network does."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cvkit.catalog import Pretrained
from cvkit.deadline import within
from cvkit.errors import WeightsError
from cvkit.models import fetch
from cvkit.models.fetch import download
from cvkit.models.published.pretrained import backbone_entry, facts

LIMIT = 0.3  # seconds, in place of the limits of half a minute and a minute
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
SHA256 = "0" * 64
HUB_FILE = (
    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Repo-Commit: " + "0" * 40 + f'\r\nETag: "{SHA256}"\r\n'
    "Accept-Ranges: bytes\r\n\r\n"
)


class SilentServer:
    """A server that answers the first requests, and then keeps every connection open without a byte.

    Attributes:
        answers: Answers to the first requests; each is sent and its connection kept open.
        trickle: Whether the last connection gets one byte every tenth of a second.
        address: URL of the server.
    """

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.trickle = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.connections: list[socket.socket] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            if self.answers:
                connection.recv(65536)
                connection.sendall(self.answers.pop(0))
            while self.trickle and not self.answers and not self.ended.wait(0.1):
                connection.sendall(b"x")

    def close(self) -> None:
        self.ended.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(fetch, "ANSWER_SECONDS", LIMIT)
    monkeypatch.setattr(fetch, "STALL_SECONDS", LIMIT)
    silent = SilentServer()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", silent.address)
    template = f"{silent.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield silent
    silent.close()


def check_that_it_fails_in_time(entry: Pretrained, reason: str = "") -> None:
    began = time.monotonic()
    with pytest.raises(WeightsError, match=r"cannot be downloaded \(.*" + reason) as raised:
        download(entry)
    assert time.monotonic() - began < 5
    assert f"`cvkit models download {entry.name}`" in str(raised.value)
    assert "`--weights FILE`" in str(raised.value) and "\n" not in str(raised.value)


def at(server: SilentServer) -> Pretrained:
    return replace(facts("vgg16"), source=f"{server.address}/vgg16-00000000.pth")


def test_a_server_that_never_answers(server: SilentServer) -> None:
    check_that_it_fails_in_time(at(server))


def test_a_server_that_stalls_in_the_middle(server: SilentServer, tmp_path: Path) -> None:
    server.answers.append(HEAD + b"x" * 500)
    check_that_it_fails_in_time(at(server), "timed out")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_server_that_sends_a_byte_now_and_then(server: SilentServer) -> None:
    server.answers.append(HEAD)
    server.trickle = True
    check_that_it_fails_in_time(at(server), r"only \d bytes in 0.3 seconds")


def test_a_server_that_answers_byte_by_byte(server: SilentServer) -> None:
    server.trickle = True
    check_that_it_fails_in_time(at(server))


def test_a_hub_that_never_answers(server: SilentServer) -> None:
    del server
    check_that_it_fails_in_time(backbone_entry("timm:resnet18"))


def test_a_hub_that_stops_answering(server: SilentServer) -> None:
    server.answers.append(HEAD)
    check_that_it_fails_in_time(backbone_entry("timm:resnet18"), "no answer within 0.3 seconds")


def test_a_hub_that_stalls_in_the_middle(server: SilentServer) -> None:
    server.answers += [HEAD, HUB_FILE.format(length=1000).encode(), HUB_FILE.format(length=1000).encode() + b"x" * 500]
    check_that_it_fails_in_time(facts("timm:resnet18"), "no answer within 0.3 seconds")


def test_an_address_that_drops_every_packet(server: SilentServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_args: object, **_more: object) -> socket.socket:
        time.sleep(2)  # as for several addresses, each of which has the whole timeout
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", connect)
    check_that_it_fails_in_time(at(server), "no answer within 0.3 seconds")


def test_a_call_that_makes_progress_has_no_deadline() -> None:
    began, ticks = time.monotonic(), iter(range(100))

    def slow() -> str:
        time.sleep(3 * LIMIT)
        return "done"

    assert within(LIMIT, slow, lambda: next(ticks)) == "done"
    assert time.monotonic() - began >= 3 * LIMIT


def test_an_error_of_a_call_is_raised_as_it_is() -> None:
    def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        within(LIMIT, fail)


def test_building_a_model_with_its_cached_weights_uses_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    from cvkit.tasks.saliency.networks.base import SaliencySpec
    from cvkit.tasks.saliency.networks.build import build
    from cvkit.tasks.saliency.networks.pretraining import load_backbone

    attempts: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _self, address: attempts.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **_more: attempts.append(words))
    path = tmp_path / "weights.pth"
    torch.save(timm.create_model("resnet10t").state_dict(), path)
    monkeypatch.setattr(fetch, "cached", lambda _: path)
    model = build(SaliencySpec.of("mlnet", backbone="timm:resnet10t"))
    load_backbone(model, "imagenet")
    assert not attempts
