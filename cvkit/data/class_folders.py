"""Folders of images: flat, or with a folder for each class, or with one for each split and class."""

from dataclasses import dataclass
from pathlib import Path

from cvkit import files
from cvkit.errors import DataError
from cvkit.inputs import find_inputs

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class LabelledImage:
    """An image file and the index of its class, None where it has none."""

    path: Path
    label: int | None


@dataclass(frozen=True)
class Folder:
    """The images of a folder by split (one, ``train``, where it is not divided), and its classes' names by index.

    ``remarks`` are sentences about what was made of its layout.
    """

    splits: dict[str, list[LabelledImage]]
    classes: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def read_folder(source: str) -> Folder:
    """Return what a folder of images holds, in one stable order; hidden files and result folders are left out.

    ``SPLIT/CLASS/*`` and ``SPLIT/*`` with splits named train, val or test; ``CLASS/*``; or images directly in it, which
    have no classes. Classes are the same in all splits, numbered by their names' order. A glob, ``@list.txt`` or ``-``
    gives images without classes. Raises DataError where there is no image.
    """
    folder = Path(source)
    if not files.is_folder(source):
        return Folder({"train": _plain(source)}, ())
    below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    splits = [path for path in below if path.name.lower() in SPLITS]
    if not any(path.name.lower().startswith("train") for path in splits):
        return _of({"train": folder})
    named: dict[str, Path] = {}
    for path in splits:
        name = SPLITS[path.name.lower()]
        if name in named:
            raise DataError(f"{folder}: {named[name].name} and {path.name} are the same split; keep one of them.")
        named[name] = path
    others = [path.name for path in below if path not in splits]
    beside = f"{', '.join(others)} beside the splits of {folder} is left out"
    return _of(named, (beside,) if others else ())


def _of(places: dict[str, Path], remarks: tuple[str, ...] = ()) -> Folder:
    """Read the folder of each split; the classes are those of all of them."""
    found = {split: _classes_of(place) for split, place in places.items()}
    classes = tuple(sorted({name for groups in found.values() for name in groups if name}))
    numbers = {name: number for number, name in enumerate(classes)}
    for split, groups in found.items():
        if any(path.parent != places[split] for path in groups.get("", ())):
            remarks += (f"images lie directly in {places[split]}: the folders below it are not taken for classes",)
    return Folder(
        {
            split: [LabelledImage(path, numbers.get(name)) for name, paths in groups.items() for path in paths]
            for split, groups in found.items()
        },
        classes,
        remarks,
    )


def _classes_of(place: Path) -> dict[str, list[Path]]:
    """Return the images of a folder by the folder they lie in; by "" where any lies in it directly: it is flat then."""
    images = [item.path for item in find_inputs([str(place)])]
    parts = [path.relative_to(place).parts for path in images]
    if any(len(part) == 1 for part in parts):
        return {"": images}
    groups: dict[str, list[Path]] = {}
    for path, part in zip(images, parts, strict=True):
        groups.setdefault(part[0], []).append(path)
    return groups


def _plain(source: str) -> list[LabelledImage]:
    return [LabelledImage(item.path, None) for item in find_inputs([source])]
