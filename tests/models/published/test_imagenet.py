import subprocess
import sys

import pytest

from cvkit.models.published.imagenet import imagenet_ids


def test_imagenet_has_a_thousand_ids_in_the_order_of_its_classes() -> None:
    ids = imagenet_ids()
    assert len(ids) == 1000
    assert (ids[0], ids[281], ids[999]) == ("n01440764", "n02123045", "n15075141")


def test_the_ids_are_read_without_importing_timm() -> None:
    code = (
        "import sys; from cvkit.models.published.imagenet import imagenet_ids as f; f(); print('timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_timm_no_class_has_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert imagenet_ids.__wrapped__() == ()
