"""Test the JSON documents of commands."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from cvkit.cli.document import encode_document


@dataclass(frozen=True)
class Counts:
    done: int
    secret: str = field(default="", repr=False)


def test_each_row_has_a_line_of_its_own() -> None:
    rows = ({"image": f"{number}.jpg", "rank": number} for number in range(2))
    text = encode_document({"counts": Counts(2), "rows": rows, "none": iter(())})
    assert text.splitlines() == [
        "{",
        '  "counts": {',
        '    "done": 2',
        "  },",
        '  "rows": [',
        '    {"image": "0.jpg", "rank": 0},',
        '    {"image": "1.jpg", "rank": 1}',
        "  ],",
        '  "none": []',
        "}",
    ]


def test_values_without_a_json_form_are_converted_at_every_level() -> None:
    values = {
        "path": Path("a/b"),
        "nan": math.nan,
        "inf": -math.inf,
        "float": np.float64(0.5),
        "counts": Counts(1, "x"),
        "pair": (1, (math.nan, Path("c"))),
        "later": (value for value in (1, math.inf)),
        "map": MappingProxyType({1: Path("d")}),
        3: True,
    }
    plain = {
        "path": "a/b",
        "nan": None,
        "inf": None,
        "float": 0.5,
        "counts": {"done": 1},
        "pair": [1, [None, "c"]],
        "later": [1, None],
        "map": {"1": "d"},
        "3": True,
    }
    assert json.loads(encode_document(values)) == plain
    values["later"] = iter([1, math.inf])
    assert json.loads(encode_document([[[values]]])) == [[[plain]]]


def test_a_name_that_is_not_utf8_survives() -> None:
    name = "caf\udce9.jpg"
    assert json.loads(encode_document({"rows": [{"image": name}]}))["rows"][0]["image"] == name


def test_values_are_read_in_their_order() -> None:
    seen: dict[str, int] = {}

    def rows() -> Iterator[int]:
        seen["a"] = 1
        yield 0

    assert json.loads(encode_document({"rows": rows(), "seen": seen})) == {"rows": [0], "seen": {"a": 1}}


@pytest.mark.parametrize("value", [object(), {"a": [object()]}, {"rows": [{"a": object()}]}])
def test_a_value_that_json_cannot_hold_is_an_error(value: object) -> None:
    with pytest.raises(TypeError, match="object"):
        encode_document(value)
