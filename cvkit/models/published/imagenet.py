"""WordNet ids of the ImageNet classes."""

import importlib.util
from functools import cache
from pathlib import Path

_SYNSETS = Path("data", "_info", "imagenet_synsets.txt")  # inside timm's package


@cache
def imagenet_ids() -> tuple[str, ...]:
    """Return the WordNet ids ("n02123045") of the 1000 ImageNet classes in the order of their indices.

    The ids are read from a table of timm without importing timm. Returns () if timm is not installed.
    """
    spec = importlib.util.find_spec("timm")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        table = Path(folder) / _SYNSETS
        if table.is_file():
            return tuple(table.read_text(encoding="utf-8").split())
    return ()
