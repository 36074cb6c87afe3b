"""Read eye fixations from the formats of common data sets, count them per pixel, and blur the counts into maps."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvkit.data.arrays import read_array
from cvkit.data.images import read_map
from cvkit.errors import DataError
from cvkit.inputs import open_text
from cvkit.tasks.saliency.data.mat_file import MatValue, read_mat

FIXATION_SUFFIXES = (".csv", ".mat", ".npy", ".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")
MAX_SIDE = 1_000_000  # of an image on which fixations were measured, in pixels
SIGMA_OF_SIDE = 0.03  # fraction of the longer side: 24 px at 800, about one degree of visual angle in OSIE


@dataclass(frozen=True)
class Fixations:
    """All fixations on one image, repeated ones included.

    Attributes:
        x: (n,) float64, columns in pixels from 0.
        y: (n,) float64, rows in pixels from 0.
        duration_ms: (n,) float64 durations, None if the file has none.
        subject: (n,) names of the subjects, None if the file has none.
        size: (height, width) of the image on which the fixations were measured, None if the file does not give it.
    """

    x: np.ndarray
    y: np.ndarray
    duration_ms: np.ndarray | None = None
    subject: np.ndarray | None = None
    size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def inside(self, size: tuple[int, int]) -> "Fixations":
        """Return the fixations that lie on an image of ``size`` (height, width)."""
        height, width = size
        keep = (self.x > -0.5) & (self.x < width - 0.5) & (self.y > -0.5) & (self.y < height - 0.5)
        return self.where(keep)

    def where(self, keep: np.ndarray) -> "Fixations":
        """Return the fixations that a boolean (n,) array selects."""
        return Fixations(
            x=self.x[keep],
            y=self.y[keep],
            duration_ms=None if self.duration_ms is None else self.duration_ms[keep],
            subject=None if self.subject is None else self.subject[keep],
            size=self.size,
        )


def read_fixations(path: Path) -> Fixations:
    """Read the fixations on one image.

    Args:
        path: One of
            - CSV with the columns x and y, and optionally duration_ms and subject;
            - ``.mat`` with the struct array ``gaze`` of SALICON (1-based x, y of each observer), or with a binary array
              of locations as in MIT1003 and CAT2000;
            - ``.npy`` with (n, 2) points x, y, or an (H, W) array that is non-zero at fixations;
            - an image that is non-zero at fixations; a JPEG, which is not exact, must be above half its range there.

    Raises:
        DataError: If the file cannot be read or holds no fixations in these formats.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _read_csv(path)
    if suffix == ".mat":
        return _read_mat(path)
    if suffix == ".npy":
        return _from_array(path, read_array(path))
    return _from_locations(read_map(path) > (0.5 if suffix in (".jpg", ".jpeg") else 0))


def _read_csv(path: Path) -> Fixations:
    try:
        with open_text(path) as stream:
            reader = csv.reader(stream)
            header = [name.strip().lower() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV file ({error}).") from error
    if "x" not in header or "y" not in header:
        raise DataError(f"{path}: needs the columns x and y, has {', '.join(header) or 'none'}.")
    columns = {name: header.index(name) for name in ("x", "y", "duration_ms", "subject") if name in header}
    values: dict[str, list[float | str]] = {name: [] for name in columns}
    for line, row in rows:
        try:
            for name, position in columns.items():
                cell = row[position].strip()
                values[name].append(cell if name == "subject" else float(cell or "nan"))
        except (ValueError, IndexError) as error:
            reason = error if isinstance(error, ValueError) else f"it has {len(row)} of {len(header)} columns"
            raise DataError(f"{path}: line {line} is not a fixation ({reason}).") from error
    x, y = (np.array(values[name], dtype=np.float64) for name in ("x", "y"))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError(f"{path}: x and y must be finite numbers.")
    return Fixations(
        x=x,
        y=y,
        duration_ms=np.array(values["duration_ms"], dtype=np.float64) if "duration_ms" in columns else None,
        subject=np.array(values["subject"], dtype=str) if "subject" in columns else None,
    )


def _read_mat(path: Path) -> Fixations:
    content = read_mat(path)
    if "gaze" in content:
        return _from_gaze(path, content)
    arrays = {name: value for name, value in content.items() if isinstance(value, np.ndarray) and value.ndim == 2}
    # Arrays of the usual names come first, then the largest one: smaller arrays hold sizes or settings.
    by_size = sorted(arrays, key=lambda name: arrays[name].size, reverse=True)
    for name in ("fixLocs", "fixationPts", *by_size):
        if name in arrays and arrays[name].size:
            return _from_array(path, arrays[name])
    raise DataError(f"{path}: has neither 'gaze' nor an array of fixation locations (holds {', '.join(content)}).")


def _from_gaze(path: Path, content: Mapping[str, MatValue]) -> Fixations:
    """Read SALICON's struct array ``gaze``: one entry per observer with ``fixations``, (n, 2) 1-based x, y."""
    gaze = content["gaze"]
    if not isinstance(gaze, list) or not all("fixations" in observer for observer in gaze):
        raise DataError(f"{path}: 'gaze' has no field 'fixations', as SALICON's files have.")
    points, subjects = [], []
    for number, observer in enumerate(gaze, start=1):
        observed = observer["fixations"]
        if not isinstance(observed, np.ndarray) or observed.size % 2:
            raise DataError(f"{path}: the fixations of observer {number} are not (n, 2) numbers.")
        points.append(observed.astype(np.float64).reshape(-1, 2) - 1)
        subjects += [str(number)] * len(points[-1])
    all_points = np.concatenate(points) if points else np.zeros((0, 2))
    if not np.isfinite(all_points).all():
        raise DataError(f"{path}: x and y must be finite numbers.")
    size, resolution = None, content.get("resolution")
    if isinstance(resolution, np.ndarray) and resolution.size == 2:
        height, width = resolution.ravel().tolist()
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise DataError(f"{path}: the resolution {height:g}x{width:g} is not the size of an image.")
        size = (int(height), int(width))
    return Fixations(x=all_points[:, 0], y=all_points[:, 1], subject=np.array(subjects, dtype=str), size=size)


def _from_array(path: Path, array: np.ndarray) -> Fixations:
    if array.ndim == 2 and array.shape[1] == 2 and array.dtype.kind != "b":
        points = array.astype(np.float64)
        if not np.isfinite(points).all():
            raise DataError(f"{path}: x and y must be finite numbers.")
        return Fixations(x=points[:, 0], y=points[:, 1])
    if array.ndim == 2:
        return _from_locations(array != 0)
    raise DataError(f"{path}: neither points (n, 2) nor a location map (H, W): its shape is {array.shape}.")


def _from_locations(locations: np.ndarray) -> Fixations:
    y, x = np.nonzero(locations)
    return Fixations(x=x.astype(np.float64), y=y.astype(np.float64), size=(locations.shape[0], locations.shape[1]))


def count_map(fixations: Fixations, measured: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Count the fixations of each pixel.

    A fixation is counted in the pixel that contains the scaled centre of its own pixel, so resizing keeps the number of
    fixations.

    Args:
        fixations: Fixations of one image; those outside the image are left out.
        measured: (height, width) of the image on which they were measured.
        size: (height, width) of the result.

    Returns:
        (h, w) int16.
    """
    counts = np.zeros(size, dtype=np.int16)
    np.add.at(counts, grid_positions(fixations, measured, size), 1)
    return counts


def grid_positions(
    fixations: Fixations, measured: tuple[int, int], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns, each (n,) int64, of the fixations after resizing an image from ``measured``."""
    on_image = fixations.inside(measured)
    column = np.floor((np.round(on_image.x) + 0.5) * (size[1] / measured[1])).astype(np.int64)
    row = np.floor((np.round(on_image.y) + 0.5) * (size[0] / measured[0])).astype(np.int64)
    return np.clip(row, 0, size[0] - 1), np.clip(column, 0, size[1] - 1)


def blur_counts(counts: np.ndarray, sigma_px: float) -> np.ndarray:
    """Blur (H, W) counts by a Gaussian of standard deviation ``sigma_px`` into an (H, W) float32 map from 0 to 1."""
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(counts.astype(np.float32), sigma_px, mode="constant", truncate=4.0)
    top = blurred.max(initial=0)
    return blurred / top if top > 0 else blurred


def default_sigma(size: tuple[int, int]) -> float:
    """Return the default standard deviation of the blur in pixels for an image of ``size``: 0.03 of the longer side."""
    return SIGMA_OF_SIDE * max(size)
