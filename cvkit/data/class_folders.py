"""Read folders of images that are sorted by class, by split and class, or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cvkit import files
from cvkit.data.splits import TRAIN, UNSPLIT, canonical_split, is_standard_split, resembled_split
from cvkit.errors import DataError
from cvkit.inputs import find_inputs
from cvkit.messages import reason


@dataclass(frozen=True)
class LabelledImage:
    """An image file and the index of its class; None if it has no class."""

    path: Path
    label: int | None


@dataclass(frozen=True)
class Folder:
    """The images of a folder.

    Attributes:
        splits: Images by split; only ``train`` if the folder has no splits.
        classes: Names of the classes by index; empty if the images have no classes.
        remarks: Sentences about how the folder was interpreted.
    """

    splits: dict[str, list[LabelledImage]]
    classes: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def read_folder(source: str, named: Sequence[str] = ()) -> Folder:
    """Find the images of a data set and their classes, in a stable order.

    The layouts ``SPLIT/CLASS/*``, ``SPLIT/*`` (splits named train, val or test), ``CLASS/*``, and images directly in
    the folder are recognised. All splits have the same classes, numbered in the order of their names. Hidden files and
    result folders are left out.

    Args:
        source: A folder; or a glob, ``@list.txt`` or ``-``, whose images have no classes.
        named: Further splits to read, which an option names. Other folders beside the splits are left out.

    Raises:
        DataError: There is no image, or two folders are the same split.
    """
    folder = Path(source)
    if not files.is_folder(source):
        return Folder({"train": _unlabelled(source)}, ())
    subfolders = _subfolders(folder)
    asked = {name.lower() for name in named}
    splits = [path for path in subfolders if is_standard_split(path.name) or path.name.lower() in asked]
    if not any(canonical_split(path.name) == TRAIN for path in splits):
        return _read_splits({"train": folder})
    return _read_splits(_by_split(folder, splits), _remarks(folder, subfolders, splits))


def read_every_split(source: str, named: Sequence[str] = ()) -> Folder:
    """Find the images of every split of a data set with class folders, in a stable order.

    The layouts ``SPLIT/CLASS/*`` and ``CLASS/*`` are recognised. Folders are splits if one of them that holds class
    folders is named train, val or test (or another form of these words), or if ``named`` contains its name. Then all
    folders beside it that hold class folders are splits. Otherwise all images belong to the split ``UNSPLIT``.

    Args:
        source: A folder.
        named: Names of splits, of which one makes the folders splits.

    Raises:
        DataError: There is no image, or two folders are the same split.
    """
    folder = Path(source)
    subfolders = _subfolders(folder)
    asked = {canonical_split(name).lower() for name in named}
    sure = [
        path
        for path in subfolders
        if (is_standard_split(path.name) or path.name.lower() in asked) and _subfolders(path)
    ]
    if not sure:
        return _read_splits({UNSPLIT: folder})
    splits = [path for path in subfolders if path in sure or _holds_class_folders(path)]
    return _read_splits(_by_split(folder, splits), _remarks(folder, subfolders, splits))


def _holds_class_folders(folder: Path) -> bool:
    """Return whether a folder holds images, and all of them are in folders inside it."""
    try:
        return bool(_subfolders(folder)) and "" not in _group_by_class(folder)
    except DataError:  # it holds no image
        return False


def _by_split(folder: Path, paths: Sequence[Path]) -> dict[str, Path]:
    chosen: dict[str, Path] = {}
    for path in paths:
        name = canonical_split(path.name)
        if name in chosen:
            raise DataError(f"{folder}: {chosen[name].name} and {path.name} are the same split; keep one of them.")
        chosen[name] = path
    return chosen


def _remarks(folder: Path, subfolders: Sequence[Path], splits: Sequence[Path]) -> tuple[str, ...]:
    """Return a sentence about the folders that are no splits."""
    others = [_shown(path.name) for path in subfolders if path not in splits]
    return (f"{', '.join(others)} beside the splits of {folder} is left out",) if others else ()


def _shown(name: str) -> str:
    """Return the name of a folder that is left out, with the split that was probably meant."""
    near = resembled_split(name)
    return f"{name} (did you mean '{near}'?)" if near else name


def _read_splits(folders: dict[str, Path], remarks: tuple[str, ...] = ()) -> Folder:
    """Read the folder of each split; the classes are those of all splits together."""
    by_split = {split: _group_by_class(folder) for split, folder in folders.items()}
    classes = tuple(sorted({name for groups in by_split.values() for name in groups if name}))
    indices = {name: index for index, name in enumerate(classes)}
    for split, groups in by_split.items():
        if any(path.parent != folders[split] for path in groups.get("", ())):
            remarks += (f"images lie directly in {folders[split]}: the folders below it are not taken for classes",)
    return Folder(
        {
            split: [LabelledImage(path, indices.get(name)) for name, paths in groups.items() for path in paths]
            for split, groups in by_split.items()
        },
        classes,
        remarks,
    )


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if files.is_folder(str(path)) and path.name[0] != ".")
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be searched ({reason(error)}).") from error


def _group_by_class(folder: Path) -> dict[str, list[Path]]:
    """Return the images of a folder by subfolder; all of them under "" if any image lies directly in the folder.

    A path that cannot be read is among the images, so that it is reported; alone it is not an image in the folder.
    """
    inputs = find_inputs([str(folder)])
    parts = [(*item.path.relative_to(folder).parts, *([""] if item.is_folder else [])) for item in inputs]
    if any(len(part) == 1 and files.is_file(str(item.path)) for item, part in zip(inputs, parts, strict=True)):
        return {"": [item.path for item in inputs]}
    groups: dict[str, list[Path]] = {}
    for item, part in zip(inputs, parts, strict=True):
        groups.setdefault(part[0] if len(part) > 1 else "", []).append(item.path)
    return groups


def _unlabelled(source: str) -> list[LabelledImage]:
    return [LabelledImage(item.path, None) for item in find_inputs([source])]
