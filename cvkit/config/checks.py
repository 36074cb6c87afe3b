"""Checks of single settings, and how words become values; the flag is named in every message."""

import math

from cvkit.errors import UsageError, nearest


def one_of(flag: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is not one of the known ones."""
    if value not in known:
        raise UsageError(f"{flag} {value!r} is not one of {', '.join(known)}.{nearest(value, known)}")


def at_least(flag: str, value: float, low: float) -> None:
    """Refuse a number below ``low``, or one that is no number."""
    if not math.isfinite(value) or value < low:
        raise UsageError(f"{flag} must be {low:g} or more, not {value:g}.")


def within(flag: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside ``low <= value < high``."""
    if not low <= value < high:
        raise UsageError(f"{flag} must be at least {low:g} and below {high:g}, not {value:g}.")


def parse_size(flag: str, text: str) -> tuple[int, int]:
    """Read ``HxW`` in pixels (height first): ``'240x320' -> (240, 320)``."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{flag} {text!r} is not a size: write height x width in pixels, for example 240x320.")
    return int(parts[0]), int(parts[1])


def parse_words(text: str) -> tuple[str, ...]:
    """Read a list of words with commas between: ``'csv, npy' -> ('csv', 'npy')``."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def parse_numbers(flag: str, text: str) -> tuple[int, ...]:
    """Read a list of whole numbers with commas between: ``'32,64' -> (32, 64)``."""
    words = parse_words(text)
    if not words or not all(word.isdecimal() for word in words):
        raise UsageError(f"{flag} {text!r}: write whole numbers with commas between, for example 32,64,128.")
    return tuple(int(word) for word in words)


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``K/N`` with 1 <= K <= N."""
    parts = text.split("/")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or not 1 <= int(parts[0]) <= int(parts[1]):
        raise UsageError(f"--shard {text!r} is not a share: write K/N with 1 <= K <= N, for example 2/8.")
    return int(parts[0]), int(parts[1])
