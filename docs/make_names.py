"""Write cvkit/tasks/classification/names.json.gz, the names that the shell completes without importing torch.

    python docs/make_names.py [--progress FILE]

Run it when the newest supported torchvision or timm adds, renames or removes models, and when
cvkit/tasks/attribution/target_layer.py or cvkit/models/backbones.py accept other layers or networks;
tests/tasks/classification/test_names.py fails when the file is outdated. The script builds every classifier and every
backbone on the meta device, one after the other on one thread: 20 minutes for 1451 networks. It appends one line per
network to the progress file (build/names.jsonl) and continues from there when it is started again. It refuses a
progress file of other library versions. Delete the progress file after a change of cvkit itself. Classifiers whose dry
run fails have no layers in the data file; the script lists them (none with timm 1.0.31 and torchvision 0.29).

The file is gzipped JSON, the same bytes for the same names:

    versions   {library: version} that the names come from
    models     {name: {"layers": index into "layers", "tags": {tag: whether its classes are ImageNet's 1000}}}, the
               default tag first; "layers" is -1 where the dry run failed
    backbones  names that `train-saliency --backbone` takes
    layers     distinct lists of layer names, each joined by spaces
"""

import argparse
import gc
import gzip
import json
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from cvkit.catalog import TIMM_PREFIX
from cvkit.errors import CvkitError
from cvkit.models.backbones import library_backbone
from cvkit.models.published import pretrained
from cvkit.models.published.imagenet import imagenet_ids
from cvkit.models.published.libraries import timm_names, torchvision_names
from cvkit.tasks.attribution.target_layer import list_target_layers
from cvkit.tasks.classification import specification
from cvkit.tasks.classification.names import DATA

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("timm", "torch", "torchvision")
FIRST_STRIDE = 4  # that of mlnet, the default; none of the 110 networks without features at 4, 8 or 16 fits mlnet-paper
VGG16 = "vgg16"  # cvkit's own network, a backbone without a dry run


def main() -> None:
    """Sweep the networks that the progress file does not have yet, then write the data file."""
    parser = argparse.ArgumentParser(description="Write the names that the shell completes.")
    parser.add_argument("--progress", type=Path, default=ROOT / "build" / "names.jsonl", help="file to continue from")
    progress: Path = parser.parse_args().progress
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = sweep(progress)
    classifiers = [name for name, _ in pretrained.names()]
    data = table(rows, classifiers)
    # No file name and no time in the header, so that the same names give the same bytes.
    DATA.write_bytes(gzip.compress(json.dumps(data, separators=(",", ":")).encode(), compresslevel=9, mtime=0))
    failed = [name for name in classifiers if not rows[name]["layers"]]
    print(f"{len(classifiers)} classifiers, {len(data['layers'])} distinct lists of layers")
    print(f"{len(failed)} classifiers without layers: {' '.join(failed)}")
    print(f"{len(data['backbones'])} of {len(rows)} networks are backbones")
    print(f"{DATA}: {DATA.stat().st_size} bytes")


def sweep(progress: Path) -> dict[str, dict[str, Any]]:
    """Return the row of every network by name; networks of the progress file are not examined again."""
    versions = {library: version(library) for library in LIBRARIES}
    progress.parent.mkdir(parents=True, exist_ok=True)
    if not progress.exists():
        progress.write_text(json.dumps(versions) + "\n", encoding="utf-8")
    header, *lines = progress.read_text(encoding="utf-8").splitlines()
    if json.loads(header) != versions:
        raise SystemExit(f"{progress} was made with {header}; delete it to start again with {json.dumps(versions)}.")
    rows = {row["name"]: row for row in map(json.loads, lines)}
    classifiers = {name for name, _ in pretrained.names()}
    names = torchvision_names() + [TIMM_PREFIX + name for name in timm_names()]
    with progress.open("a", encoding="utf-8") as file:
        for name in names:
            if name not in rows:
                rows[name] = examine(name, name in classifiers)
                file.write(json.dumps(rows[name]) + "\n")
                file.flush()
                gc.collect()  # dry runs leave cycles behind
    return {name: rows[name] for name in names}


def examine(name: str, is_classifier: bool) -> dict[str, Any]:
    """Return the row of a network: its layers, whether it can be a backbone, and the errors met."""
    began = time.monotonic()
    row: dict[str, Any] = {"name": name, "layers": [], "errors": {}}
    if is_classifier:
        layers, error = attempt(lambda: layer_names(name))
        row["layers"] = layers or []
        row["errors"] |= {"layers": error} if error else {}
    backbone, error = attempt(lambda: name == VGG16 or on_meta(name))
    if error and "meta" in error:
        # Torchvision's RegNets compute their widths with tensors, which have no values on the meta device.
        backbone, error = attempt(lambda: bool(library_backbone(name, first_stride=FIRST_STRIDE)))
    row["backbone"] = bool(backbone)
    row["errors"] |= {"backbone": error} if error else {}
    row["seconds"] = round(time.monotonic() - began, 2)
    return row


def attempt(work: Callable[[], Any]) -> tuple[Any, str]:
    """Return the result of ``work`` and an empty text, or None and the error message."""
    try:
        return work(), ""
    except CvkitError as error:
        return None, str(error)
    except Exception as error:  # networks of the libraries raise any kind; the row records it, and main lists the name
        return None, f"{type(error).__name__}: {error}"[:500]


def layer_names(name: str) -> list[str]:
    """Return the names that ``gradcam --layer`` takes, in the order the layers run."""
    facts = pretrained.facts(name)
    build = specification.blueprint(facts.name, facts.num_classes)
    return [layer for layer, _, _ in list_target_layers(build, (1, 3, *facts.preprocessing.crop))]


def on_meta(name: str) -> bool:
    """Build the extractor on the meta device, without memory for its weights; raise if it cannot be used."""
    with torch.device("meta"):
        library_backbone(name, first_stride=FIRST_STRIDE)
    return True


def table(rows: dict[str, dict[str, Any]], classifiers: list[str]) -> dict[str, Any]:
    """Return the content of the data file."""
    layers: dict[str, int] = {}  # {joined names: index}
    models = {}
    for name in classifiers:
        joined = " ".join(rows[name]["layers"])
        tags = {
            entry.tag: bool(entry.labels) and entry.class_ids == imagenet_ids()
            for entry in pretrained.entries(name)
            if entry.tag
        }
        models[name] = {"layers": layers.setdefault(joined, len(layers)) if joined else -1, "tags": tags}
    return {
        "versions": {library: version(library) for library in LIBRARIES},
        "models": models,
        "backbones": [name for name, row in rows.items() if row["backbone"]],
        "layers": list(layers),
    }


if __name__ == "__main__":
    main()
