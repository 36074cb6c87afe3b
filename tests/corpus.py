"""Generate more than a thousand damaged and odd image files, each with the outcome that a command must have.

Everything follows from one seed. The expected pixels of good files are computed from the array that was stored, or, for
JPEG and WebP, by Pillow alone.
"""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.data.test_tiff import row, write_tiff

GOOD, BAD, EITHER = "good", "bad", "either"
SIDE = (20, 24)  # height and width of most images
CUTS = 12  # positions at even distances at which each file is cut, beside its markers
FLIPS = 16  # files per format with one flipped bit
SUFFIXES = (".jpg", ".png", ".gif", ".tif", ".webp", ".bmp", ".ppm")
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Case:
    """A file of the corpus.

    Attributes:
        name: Path inside the corpus.
        outcome: GOOD files must be done and BAD ones must fail. EITHER is allowed for a damaged file, but if it is
            done, its pixels must be the expected ones.
        pixels: (H, W, 3) expected pixels; None if they are not known.
        tolerance: Largest difference from them.
        reason: Text that the message of a failure has.
    """

    name: str
    outcome: str
    pixels: Pixels | None = None
    tolerance: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Encoded:
    """An encoded image, with the pixels that it holds."""

    suffix: str
    content: bytes
    pixels: Pixels


def build(folder: Path) -> list[Case]:
    """Write the corpus into a folder and return its cases, in the order in which cvkit lists them."""
    folder.mkdir(parents=True)
    cases: list[Case] = []
    for family, make in FAMILIES.items():
        (folder / family).mkdir()
        for case in make(folder / family):
            cases.append(replace(case, name=f"{family}/{case.name}"))
    return sorted(cases, key=lambda case: Path(case.name))


@cache
def noise(height: int = SIDE[0], width: int = SIDE[1], seed: int = 0) -> Pixels:
    """Return random pixels (H, W, 3) without black, so that no part of an image looks like missing data."""
    return np.random.default_rng((seed, height, width)).integers(1, 255, (height, width, 3), dtype=np.uint8)


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    """Encode an image by Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def by_pillow(content: bytes) -> Pixels:
    """Decode an image of mode RGB or L by Pillow."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG file (PNG specification, section 5)."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(size: tuple[int, int], kind: int, depth: int, data: bytes, extra: bytes = b"", after: bytes = b"") -> bytes:
    """Return a PNG file of (height, width) with compressed data, and chunks before and after it."""
    header = struct.pack(">IIBBBBB", size[1], size[0], depth, kind, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + after + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def png_of(samples: NDArray, kind: int, extra: bytes = b"") -> bytes:
    """Return a PNG file of (H, W) or (H, W, C) samples of 8 or 16 bits."""
    big = samples.astype(f">u{samples.itemsize}")
    lines = b"".join(b"\0" + line.tobytes() for line in big)
    return png(samples.shape[:2], kind, 8 * samples.itemsize, zlib.compress(lines), extra)


def tiff(samples: NDArray, **options: object) -> bytes:
    """Return a TIFF file of (H, W, C) samples, written by hand."""
    path = Path(os.environ.get("TMPDIR", "/tmp"), f"cvkit-corpus-{os.getpid()}.tif")
    try:
        return write_tiff(path, samples, **options).read_bytes()  # type: ignore[arg-type]
    finally:
        path.unlink(missing_ok=True)


@cache
def encoded() -> tuple[Encoded, ...]:
    """Return one whole image per format and variant."""
    pixels = noise()
    image, grey, other = Image.fromarray(pixels), Image.fromarray(pixels[..., 0]), Image.fromarray(pixels[::-1].copy())
    palette = grey.convert("P")
    levels = np.repeat(pixels[..., :1], 3, axis=2)
    lossless: list[tuple[str, bytes, Pixels]] = [
        (".png", encode(image, "PNG"), pixels),
        (".png", encode(grey, "PNG"), levels),
        (".png", encode(palette, "PNG"), levels),
        (".bmp", encode(image, "BMP"), pixels),
        (".bmp", encode(grey, "BMP"), levels),
        (".ppm", encode(image, "PPM"), pixels),
        (".pgm", encode(grey, "PPM"), levels),
        (".ppm", f"P3 {SIDE[1]} {SIDE[0]} 255\n{' '.join(map(str, pixels.ravel()))}\n".encode(), pixels),
        (".gif", encode(grey, "GIF"), levels),
        (".gif", encode(grey, "GIF", save_all=True, append_images=[other.convert("L")], duration=50), levels),
        (".webp", encode(image, "WEBP", lossless=True), pixels),
        (".webp", encode(image, "WEBP", lossless=True, save_all=True, append_images=[other]), pixels),
        (".tif", encode(image, "TIFF"), pixels),
        (".tif", encode(image, "TIFF", compression="tiff_lzw"), pixels),
        (".tif", encode(image, "TIFF", compression="tiff_adobe_deflate"), pixels),
        (".tif", encode(image, "TIFF", compression="packbits"), pixels),
        (".tif", encode(image, "TIFF", save_all=True, append_images=[other]), pixels),
        (".tiff", tiff(pixels.astype("<u2") * 257), pixels),
        (".tiff", tiff(pixels.astype("<u2") * 257, planar=True), pixels),
        (".tiff", tiff(pixels / np.float32(255), compression=8), pixels),
    ]
    lossy: list[tuple[str, bytes]] = [
        (".jpg", encode(image, "JPEG", quality=90)),
        (".jpg", encode(image, "JPEG", quality=90, progressive=True)),
        (".jpg", encode(image, "JPEG", quality=90, restart_marker_blocks=1)),
        (".jpeg", encode(grey, "JPEG", quality=90)),
        (".jpg", encode(image.convert("CMYK"), "JPEG", quality=90)),
        (".webp", encode(image, "WEBP", quality=80)),
    ]
    return tuple(
        [Encoded(*each) for each in lossless]
        + [Encoded(suffix, content, by_pillow(content)) for suffix, content in lossy]
    )


def markers(each: Encoded) -> set[int]:
    """Return the positions of the markers, chunks or tags of a file."""
    content, starts = each.content, set()
    patterns = {
        ".jpg": tuple(bytes((0xFF, code)) for code in (*range(0xC0, 0xF0), 0xFE)),
        ".png": (b"IHDR", b"PLTE", b"IDAT", b"IEND"),
        ".gif": (b"\x2c", b"\x21\xf9", b"\x21\xff", b"\x3b"),
        ".webp": (b"RIFF", b"WEBP", b"VP8", b"ANIM", b"ANMF"),
        ".tif": (b"\0\1\1", b"\1\1\4", b"\3\1\3", b"\6\1\3", b"\x11\1\4", b"\x17\1\4", b"\x1a\1\5"),
        ".bmp": (b"BM", b"(\0\0\0"),
    }
    for pattern in patterns.get({".jpeg": ".jpg", ".tiff": ".tif"}.get(each.suffix, each.suffix), (b"\n", b" ")):
        at = content.find(pattern)
        while at >= 0 and len(starts) < 40:
            starts |= {at, at + len(pattern)}
            at = content.find(pattern, at + 1)
    return starts


def whole(folder: Path) -> Iterator[Case]:
    """Write every image with its own suffix, and with the suffixes of other formats."""
    for number, each in enumerate(encoded()):
        for suffix in dict.fromkeys((each.suffix, *SUFFIXES, SUFFIXES[number % 7].upper())):
            name = f"{number}{each.suffix[1:]}{suffix}"
            (folder / name).write_bytes(each.content)
            yield Case(name, GOOD, each.pixels, 1)


def cut(folder: Path) -> Iterator[Case]:
    """Cut every image at its markers and at even distances."""
    for number, each in enumerate(encoded()):
        length = len(each.content)
        for at in sorted(markers(each) | {length * k // CUTS for k in range(CUTS)} | {length - 1, length - 2}):
            if at < length:
                name = f"{number}-{at}{each.suffix}"
                (folder / name).write_bytes(each.content[:at])
                # The first of several frames may be whole, and text may be cut inside its last number.
                pixels = None if each.content.startswith(b"P3") else each.pixels
                yield Case(name, EITHER if at > length // 3 else BAD, pixels, 1)


def flipped(folder: Path) -> Iterator[Case]:
    """Flip one bit of every image at random positions."""
    random = np.random.default_rng(1)
    for number, each in enumerate(encoded()):
        for k in range(FLIPS):
            content = bytearray(each.content)
            at = int(random.integers(len(content)))
            content[at] ^= 1 << int(random.integers(8))
            name = f"{number}-{k}-{at}{each.suffix}"
            (folder / name).write_bytes(content)
            yield Case(name, EITHER)


def foreign(folder: Path) -> Iterator[Case]:
    """Write files that are no images of a format that cvkit opens."""
    random = np.random.default_rng(2)
    contents = {
        "empty": (b"", "an empty file"),
        "text": (b"hello\n", "text"),
        "html": (b"<html><body>404</body></html>", "text"),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "text"),
        "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "not an image"),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text"),
        "zip": (b"PK\3\4" + bytes(60), "not an image"),
        "pickle": (b"\x80\4\x95\x1a\0\0\0\0\0\0\0\x8c\5posix\x94\x8c\6system\x94\x93\x94.", "not an image"),
        "zeros": (bytes(5000), "not an image"),
        "random": (random.bytes(5000), "not an image"),
        "ico": (encode(Image.fromarray(noise()), "ICO"), "not an image"),
        "jpeg2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + random.bytes(200), "not an image"),
        "signatures": (b"\x89PNG\r\n\x1a\n\xff\xd8\xff\xe0GIF89aII*\0BM", ""),
    }
    for kind, (content, reason) in contents.items():
        for suffix in SUFFIXES:
            name = f"{kind}{suffix}"
            (folder / name).write_bytes(content)
            yield Case(name, BAD, reason=reason)


def sizes(folder: Path) -> Iterator[Case]:
    """Write images with one pixel, and with sides of one and of many pixels."""
    for height, width in ((1, 1), (1, 2), (2, 1), (1, 50_000), (50_000, 1), (3, 16_000)):
        pixels = noise(height, width)
        for form, suffix in (("PNG", ".png"), ("BMP", ".bmp"), ("TIFF", ".tif"), ("PPM", ".ppm"), ("JPEG", ".jpg")):
            content = encode(Image.fromarray(pixels), form)
            name = f"{height}x{width}{suffix}"
            (folder / name).write_bytes(content)
            yield Case(name, GOOD, by_pillow(content) if form == "JPEG" else pixels)


def modes(folder: Path) -> Iterator[Case]:
    """Write images of all kinds of samples: many bits, alpha, palettes, floats, white is zero."""
    pixels = noise()
    levels = np.repeat(pixels[..., :1], 3, axis=2)
    wide = pixels.astype(np.uint16) * 257
    alpha = np.where(np.arange(SIDE[1]) < 9, 0, 255).astype(np.uint8)[None].repeat(SIDE[0], 0)
    on_white = np.where(alpha[..., None] == 0, np.uint8(255), pixels)
    on_white_grey = np.where(alpha[..., None] == 0, np.uint8(255), levels)
    one_bit = np.where(pixels[..., :1] > 127, np.uint8(255), np.uint8(0)).repeat(3, 2)
    key = int(wide[3, 5, 0])
    keyed = np.where(wide[..., :1] == key, np.uint8(255), levels)
    palette = Image.fromarray(pixels[..., 0] % 4).convert("P")
    palette.putpalette([0, 0, 0, 250, 0, 0, 0, 250, 0, 0, 0, 250])
    colours = np.array([[255] * 3, [250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)[pixels[..., 0] % 4]
    float_grey = (pixels[..., :1] / 255).astype("<f4")
    files: dict[str, tuple[bytes, Pixels]] = {
        "rgba.png": (png_of(np.dstack([pixels, alpha]), 6), on_white),
        "rgba16.png": (png_of(np.dstack([wide, alpha.astype(np.uint16) * 257]), 6), on_white),
        "la.png": (png_of(np.dstack([pixels[..., 0], alpha]), 4), on_white_grey),
        "grey16.png": (png_of(wide[..., 0], 0), levels),
        "grey16-trns.png": (png_of(wide[..., 0], 0, chunk(b"tRNS", struct.pack(">H", key))), keyed),
        "rgb16.png": (png_of(wide, 2), pixels),
        "one-bit.png": (encode(Image.fromarray(one_bit[..., 0]).convert("1"), "PNG"), one_bit),
        "palette-alpha.png": (encode(palette, "PNG", transparency=0), colours),
        "palette-alpha.gif": (encode(palette, "GIF", transparency=0), colours),
        "rgba.webp": (encode(Image.fromarray(np.dstack([pixels, alpha])), "WEBP", lossless=True), on_white),
        "rgba.tif": (encode(Image.fromarray(np.dstack([pixels, alpha])), "TIFF"), on_white),
        "float.tif": (tiff(float_grey), levels),
        "float255.tif": (tiff(pixels[..., :1].astype("<f4")), levels),
        "float-rgb.tif": (tiff((pixels / 255).astype("<f8")), pixels),
        "half-rgb.tif": (tiff(row(*np.full((5, 3), 0.5).tolist(), kind="f2")), np.full((1, 5, 3), 128, np.uint8)),
        "uint32.tif": (tiff(pixels[..., :1].astype("<u4") * 16843009), levels),
        "uint32-small.tif": (tiff(pixels[..., :1].astype("<u4")), levels),
        "planar16.tif": (tiff(wide.astype("<u2"), planar=True), pixels),
        "planar16-deflate.tif": (tiff(wide.astype("<u2"), planar=True, compression=8), pixels),
        "white-is-zero.tif": (tiff(255 - pixels[..., :1], photometric=0), levels),
        "grey16-alpha.tif": (
            tiff(np.dstack([wide[..., 0], alpha.astype(np.uint16) * 257]).astype("<u2"), extra=2),
            on_white_grey,
        ),
    }
    cmyk = encode(Image.fromarray(pixels).convert("CMYK"), "TIFF")
    files["cmyk.tif"] = (cmyk, by_pillow(cmyk))
    for name, (content, expected) in files.items():
        (folder / name).write_bytes(content)
        yield Case(name, GOOD, expected, 1)
    keyed_colour = png_of(wide, 2, chunk(b"tRNS", struct.pack(">3H", *wide[0, 0].tolist())))
    (folder / "rgb16-trns.png").write_bytes(keyed_colour)
    yield Case("rgb16-trns.png", BAD, reason="transparent colour is not supported")


def oriented(folder: Path) -> Iterator[Case]:
    """Write images with every EXIF orientation, and with values that are none."""
    turn: dict[int, Callable[[Pixels], Pixels]] = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }
    image = Image.fromarray(noise())
    for orientation in (*range(10), 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for form, suffix in (("PNG", ".png"), ("JPEG", ".jpg"), ("TIFF", ".tif"), ("WEBP", ".webp")):
            options = {"lossless": True} if form == "WEBP" else {}
            stored = by_pillow(encode(image, form, **options))
            name = f"{orientation}{suffix}"
            (folder / name).write_bytes(encode(image, form, exif=exif, **options))
            yield Case(name, GOOD, turn.get(orientation, np.asarray)(stored))
    for number, junk in enumerate(
        (b"", b"MM", b"II*\0\xff\xff\xff\xff", bytes(200), b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    ):
        name = f"junk{number}.jpg"
        (folder / name).write_bytes(encode(image, "JPEG", exif=junk))
        yield Case(name, GOOD, by_pillow(encode(image, "JPEG")))


def bombs(folder: Path) -> Iterator[Case]:
    """Write small files that ask for much memory."""
    zeros = zlib.compress(bytes(5_000_000), 9)
    line = zlib.compress(b"\0" + bytes(range(1, 13)))
    gif, bmp, jpeg = (bytearray(encode(Image.fromarray(noise()), form)) for form in ("GIF", "BMP", "JPEG"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    frame = jpeg.find(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    webp = bytearray(
        encode(Image.fromarray(noise()), "WEBP", save_all=True, append_images=[Image.fromarray(noise(seed=1))])
    )
    webp[24:30] = (59_999).to_bytes(3, "little") * 2
    large, text = "more than", "too large"
    files: dict[str, tuple[bytes | bytearray, str]] = {
        "size.png": (png((60_000, 60_000), 2, 8, zlib.compress(bytes(1000))), large),
        "zTXt.png": (png((1, 4), 2, 8, line, chunk(b"zTXt", b"k\0\0" + zeros)), text),
        "zTXt-after.png": (png((1, 4), 2, 8, line, after=chunk(b"zTXt", b"k\0\0" + zeros)), text),
        "iTXt.png": (png((1, 4), 2, 8, line, chunk(b"iTXt", b"k\0\1\0\0\0" + zeros)), text),
        "iCCP.png": (png((1, 4), 2, 8, line, chunk(b"iCCP", b"k\0\0" + zeros)), text),
        "size.gif": (gif, large),
        "size.bmp": (bmp, large),
        "size.jpg": (jpeg, large),
        "size.webp": (webp, large),
        "size.ppm": (b"P6 60000 60000 255\n" + bytes(100), large),
        "float.tif": (tiff(row([0, 0, 0], kind="f4"), size=(60_000, 60_000)), large),
        "size.tif": (tiff(row([0, 0, 0], kind="u1"), size=(60_000, 60_000)), large),
        "strip.tif": (
            tiff(np.zeros((800, 800, 3), "<f4"), compression=8, size=(10, 10)),
            "more bytes than the whole",
        ),
    }
    for name, (content, reason) in files.items():
        (folder / name).write_bytes(content)
        yield Case(name, BAD, reason=reason)
    (folder / "idat.png").write_bytes(png((1, 4), 2, 8, zeros))  # Pillow inflates what the image needs
    yield Case("idat.png", GOOD, np.zeros((1, 4, 3), np.uint8))


def short(folder: Path) -> Iterator[Case]:
    """Write images whose header promises more pixels than there are."""
    image = Image.fromarray(noise())
    variants = {"baseline": {}, "progressive": {"progressive": True}, "restart": {"restart_marker_rows": 1}}
    for name, options in variants.items():
        jpeg = bytearray(encode(image, "JPEG", quality=90, subsampling=0, **options))
        frame = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
        for height, width in ((SIDE[0] + 8, SIDE[1]), (SIDE[0], SIDE[1] + 8), (2000, SIDE[1])):
            jpeg[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
            (folder / f"{name}-{height}x{width}.jpg").write_bytes(jpeg)
            yield Case(f"{name}-{height}x{width}.jpg", BAD, reason="the data ends before the last pixel")
    lines = zlib.compress(b"".join(b"\0" + line.tobytes() for line in noise()))
    contents = {
        "rows.png": png((SIDE[0] + 1, SIDE[1]), 2, 8, lines),
        "strips.tif": tiff(noise(), size=(SIDE[0] * 2, SIDE[1])),
        "rows.bmp": _replaced(encode(image, "BMP"), 22, struct.pack("<i", SIDE[0] + 1)),
        "rows.gif": _taller_gif(encode(image.convert("L"), "GIF")),
        "rows.ppm": encode(image, "PPM").replace(
            f"{SIDE[1]} {SIDE[0]}".encode(), f"{SIDE[1]} {SIDE[0] + 1}".encode(), 1
        ),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        yield Case(name, BAD, reason="damaged image")


def _replaced(content: bytes, at: int, part: bytes) -> bytes:
    return content[:at] + part + content[at + len(part) :]


def _taller_gif(content: bytes) -> bytes:
    size = struct.pack("<HH", SIDE[1], SIDE[0] + 1)
    return _replaced(_replaced(content, 6, size), content.index(b"\x2c\0\0\0\0") + 5, size)


NAMES = (
    *("with space.png", "trailing .png", "-rf.png", "--out.png", '"double".png', "'single'.png", "back\\slash.png"),
    *("a\nb.png", "a\r\nb.png", "a\rb.png", "tab\t.png", "\x1b[31mred.png", "a\u2028b.png", "a\x85b.png"),
    *("*.png", "[a].png", "?.png", "{0}.png", "%s.png", "@list.png", "#comment.png", "=1+1.png", "+1.png"),
    *("$(touch x).png", "`x`.png", ";x.png", "&.png", "~.png", "a:b.png", "a,b.png", "&amp;.png", "<b>.png"),
    *("x..png", "a.b.c.png.png", "NUL.png", "con.png", "results.csv.png", "manifest.json.png", "a.jpg"),
    *("results.csv/x.png", "manifest.json/x.png", "a.png/x.png", "deep/er/still/x.png", "upper.PNG", "Upper.PNG"),
    *("ümlaut.png", "日本.png", "🙂.png", "x" * 246 + ".png", "é" * 123 + ".png"),
    *(os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"\xff\xfe/\x80.png")),
)


def names(folder: Path) -> Iterator[Case]:
    """Write good images whose names are difficult."""
    for number, name in enumerate(NAMES):
        pixels = noise(seed=number)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png_of(pixels, 2))
        yield Case(name, GOOD, pixels)


def links(folder: Path) -> Iterator[Case]:
    """Create links, loops, FIFOs, sockets, devices, and files and folders without permission."""
    (folder / "real").mkdir()
    (folder / "real/a.png").write_bytes(png_of(noise(), 2))
    yield Case("real/a.png", GOOD, noise())
    targets = {
        "good.png": ("real/a.png", GOOD, ""),
        "broken.png": ("gone.png", BAD, "is a broken link to gone.png"),
        "loop.png": ("loop.png", BAD, "Too many levels of symbolic links"),
        "loop-a.png": ("loop-b.png", BAD, "Too many levels of symbolic links"),
        "loop-b.png": ("loop-a.png", BAD, "Too many levels of symbolic links"),
        "null.png": ("/dev/null", BAD, "is a device"),
        "zero.png": ("/dev/zero", BAD, "is a device"),
        "disk": ("/not/mounted", BAD, "is a broken link to /not/mounted"),
        "again": (".", BAD, "is a link to a folder that contains it"),
        "real/up": ("../..", BAD, "is a link to a folder that contains it"),
        "alias": ("real", "", ""),
    }
    for name, (target, outcome, reason) in targets.items():
        (folder / name).symlink_to(target)
        if outcome:
            yield Case(name, outcome, noise() if outcome == GOOD else None, reason=reason)
    yield Case("alias/a.png", GOOD, noise())
    yield Case("alias/up", BAD, reason="is a link to a folder that contains it")
    os.mkfifo(folder / "fifo.png")
    (folder / "to-fifo.png").symlink_to("fifo.png")
    yield from (Case(name, BAD, reason="is a FIFO") for name in ("fifo.png", "to-fifo.png"))
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(".", os.O_RDONLY)
        os.chdir(folder)  # the name of a socket has at most 107 characters
        server.bind("socket.png")
        os.fchdir(here)
        os.close(here)
    yield Case("socket.png", BAD, reason="is a socket")
    (folder / "folder.png").mkdir()  # an empty folder with the name of an image is no image
    if os.geteuid() != 0:  # root may read everything
        (folder / "secret.png").write_bytes(png_of(noise(), 2))
        (folder / "secret.png").chmod(0)
        yield Case("secret.png", BAD, reason="Permission denied")
        (folder / "closed").mkdir(mode=0)
        yield Case("closed", BAD, reason="the folder cannot be searched (Permission denied)")


FAMILIES: dict[str, Callable[[Path], Iterator[Case]]] = {
    make.__name__: make for make in (whole, cut, flipped, foreign, sizes, modes, oriented, bombs, short, names, links)
}
