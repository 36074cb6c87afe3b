"""Find images whose data ends before the size in their header is reached, which Pillow fills with grey or black.

Decoding everything a second time would double the cost of reading. Therefore a JPEG is decoded again, and the data of a
PNG is inflated again, only if the last pixel has the value that Pillow fills with.
"""

import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvkit.catalog import IMAGE_FORMATS
from cvkit.data.scaling import LUMA
from cvkit.errors import DataError
from cvkit.inputs import open_file

if TYPE_CHECKING:
    from PIL import Image

# JPEG: ITU-T T.81, table B.1.
_SOS, _EOI, _DRI, _RST0, _RST7 = 0xDA, 0xD9, 0xDD, 0xD0, 0xD7
_WITHOUT_LENGTH = {0x01, 0xD8, *range(_RST0, _RST7 + 1)}
# libjpeg fills missing blocks with 128. The colour of the last pixel may be interpolated from others, its luma is not.
_FILL, _TOLERANCE = 128, 3
_NOISE = bytes(range(255)) * 8  # decodes to something other than grey; 255 would begin a marker
# PNG: specification, sections 5.3, 8.2 and 11.2.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples per pixel by colour type
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_BLOCK = 1 << 16  # bytes that are inflated at a time


def check_complete(image: "Image.Image", path: Path) -> None:
    """Check that the data of an image reaches to its last pixel.

    Args:
        image: The image as Pillow has decoded it, in its own mode and orientation.
        path: Its file.

    Raises:
        DataError: The data is shorter than the header says.
    """
    if image.format in ("JPEG", "MPO"):
        short = may_be_fill(_last_pixel(image)) and _is_short_jpeg(image, path)
    elif image.format == "PNG":
        short = (not any(_last_pixel(image)) or bool(image.info.get("interlace"))) and _is_short_png(path)
    else:
        return  # the decoders of the other formats report this themselves
    if short:
        raise DataError(f"{path}: damaged image (the data ends before the last pixel).")


def may_be_fill(last: Sequence[int] | np.ndarray) -> bool:
    """Return whether the last pixel of a JPEG image (1, 3 or 4 samples from 0 to 255) may be what libjpeg fills in."""
    level = float(np.dot(LUMA, last[:3])) if len(last) >= 3 else last[0]
    return bool(abs(level - _FILL) <= _TOLERANCE)


def _last_pixel(image: "Image.Image") -> tuple[int, ...]:
    last: Any = image.getpixel((image.width - 1, image.height - 1))
    return last if isinstance(last, tuple) else (last,)


def _is_short_jpeg(image: "Image.Image", path: Path) -> bool:
    """Return whether the decoder uses data that is added at the end of each scan, because the scan has too little."""
    from PIL import Image

    with open_file(path) as stream:
        content = stream.read()
    with Image.open(io.BytesIO(_lengthen_scans(content)), formats=tuple(IMAGE_FORMATS)) as lengthened:
        return not np.array_equal(np.asarray(lengthened), np.asarray(image))


def _lengthen_scans(content: bytes) -> bytes:
    """Return the first image of a JPEG file with additional data at the end of each scan."""
    parts: list[bytes] = []
    begin, at, restarts = 0, 2, False
    while at + 4 <= len(content) and content[at + 1] != _EOI:
        marker = content[at + 1]
        restarts = restarts or marker == _DRI
        at += 2 if marker in _WITHOUT_LENGTH else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == _SOS:
            at, restart = _end_of_scan(content, at)
            # Before more data, the decoder expects the next restart marker (0 to 7, in turn).
            following = [bytes((0xFF, _RST0 + (restart + k) % 8)) for k in range(8)] if restarts else []
            parts += [content[begin:at], _NOISE, *(each + _NOISE for each in following)]
            begin = at
    return b"".join((*parts, content[begin:at], bytes((0xFF, _EOI))))


def _end_of_scan(content: bytes, at: int) -> tuple[int, int]:
    """Find the end of the entropy-coded data that begins at a position.

    Returns:
        The position of the marker behind the data, and the number of the restart marker that would come next.
    """
    restart = 0
    while (at := content.find(b"\xff", at)) >= 0 and at + 1 < len(content):
        code = content[at + 1]
        if _RST0 <= code <= _RST7:
            restart = (code - _RST0 + 1) % 8
        elif code not in (0, 0xFF):
            return at, restart
        at += 1 if code == 0xFF else 2
    return len(content), restart


def _is_short_png(path: Path) -> bool:
    with open_file(path) as stream:
        content = stream.read()
    missing = _png_size(content[16:29])
    inflate = zlib.decompressobj()
    for data in _image_data(content):
        waiting = data
        while waiting and missing > 0:
            missing -= len(inflate.decompress(waiting, _BLOCK))
            waiting = inflate.unconsumed_tail
    return missing > 0


def _image_data(content: bytes) -> Iterator[bytes]:
    """Yield the content of the IDAT chunks of a PNG file."""
    at = 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] == b"IDAT":
            yield content[at + 8 : at + 8 + length]
        at += 12 + length


def _png_size(header: bytes) -> int:
    """Return the number of bytes of the inflated data, from the content of the IHDR chunk."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _CHANNELS[header[9]]
    passes = _ADAM7 if header[12] else ((0, 0, 1, 1),)
    total = 0
    for left, top, step_x, step_y in passes:
        columns, rows = -(-(width - left) // step_x), -(-(height - top) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total
