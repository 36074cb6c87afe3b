"""Convert texts and values of configuration files to option values, and check them."""

import math
import reprlib
from typing import Any

from cvkit.config.option import Field, Option
from cvkit.errors import UsageError
from cvkit.messages import nearest

MAX_DIGITS = 25  # of a whole number; Python converts text of many thousands slowly or not at all
MAX_SHOWN = 60  # characters of a value in a message
_BRIEF = reprlib.Repr()  # lists in lists in a file may have more elements than the memory holds
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother = 2, MAX_SHOWN, MAX_SHOWN
NOUNS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", tuple: "a list"}


def from_text(field: Field, text: str) -> Any:
    """Convert one word of the command line to the value of an option.

    Args:
        field: The option; one that may be repeated gives a single element.
        text: The word as it was typed.

    Raises:
        UsageError: If the text is not a value of this option.
    """
    option = field.option
    if option.unset and text == option.unset:
        return () if field.kind is tuple and not field.optional else None
    if option.parse is not None:
        return option.parse(field.flag, text)
    if field.kind is tuple and not option.repeat:
        words = parse_words(text)
        if not words and option.unset:
            raise UsageError(f"{field.flag} is empty: write {option.unset} for an empty list.")
        return tuple(_element(field, word) for word in words)
    return _element(field, text)


def from_value(field: Field, value: Any) -> Any:
    """Convert a value of a configuration file (JSON, TOML, YAML) to the value of an option.

    Raises:
        UsageError: If the value has another type than the option.
    """
    if value is None and (field.optional or field.option.unset):
        return None
    if isinstance(value, str) and field.kind is not str:
        return (from_text(field, value),) if field.option.repeat else from_text(field, value)
    if isinstance(value, list | tuple) and field.kind is tuple:
        return tuple(_typed(field, each, field.element) for each in value)
    number = field.kind is object and isinstance(value, int) and not isinstance(value, bool)
    return value if number else _typed(field, value, field.kind)


def to_text(field: Field, value: Any) -> str:
    """Convert the value of an option to text that ``from_text`` reads."""
    if value is None or value == ():
        return field.option.unset or field.option.default_text
    if field.option.format is not None:
        return field.option.format(value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def check(field: Field, value: Any) -> None:
    """Check a value against the choices and bounds of its option.

    Raises:
        UsageError: If the value is not allowed. The message names the option.
    """
    if value is None:
        if not field.optional:
            raise UsageError(f"{field.flag} needs a value.")
        return
    if field.length is not None and len(value) != field.length:
        raise UsageError(f"{field.flag} needs {field.length} values, not {len(value)}.")
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, str):
            _check_word(field, each)
        elif isinstance(each, int | float) and not isinstance(each, bool):
            _check_number(field, each)


def _check_word(field: Field, word: str) -> None:
    option = field.option
    if not word:
        raise UsageError(f"{field.flag} is empty.")
    if "\0" in word:
        raise UsageError(f"{field.flag} {shown(word)} contains a null character.")
    if option.choices and not option.other and word not in option.choices:
        listed = ", ".join(option.choices)
        raise UsageError(f"{field.flag} {shown(word)} is not one of {listed}.{nearest(word, option.choices)}")


def _check_number(field: Field, number: float) -> None:
    option = field.option
    outside = (
        (isinstance(number, float) and not math.isfinite(number))
        or (option.minimum is not None and number < option.minimum)
        or (option.above is not None and number <= option.above)
        or (option.maximum is not None and number > option.maximum)
        or (option.below is not None and number >= option.below)
    )
    if outside:
        raise UsageError(f"{field.flag} must be {_allowed(option)}, not {_shown_number(number)}.")
    if number > option.limit:
        raise UsageError(f"{field.flag} must be at most {_shown_number(option.limit)}, not {_shown_number(number)}.")


def _allowed(option: Option) -> str:
    """Describe the allowed range in words."""
    if option.minimum is not None and option.maximum is None and option.below is None:
        return f"{_shown_number(option.minimum)} or more"
    low = f"at least {option.minimum:g}" if option.minimum is not None else ""
    low = f"above {option.above:g}" if option.above is not None else low
    high = f"at most {option.maximum:g}" if option.maximum is not None else ""
    high = f"below {option.below:g}" if option.below is not None else high
    return " and ".join(part for part in (low, high) if part) or "a finite number"


def _element(field: Field, text: str) -> Any:
    """Convert text to one number, boolean or word."""
    if field.element is str or field.element is object:
        return text
    if field.element is bool:
        words = {"true": True, "false": False}
        if text.lower() not in words:
            raise UsageError(f"{field.flag} {shown(text)} is not true or false.")
        return words[text.lower()]
    try:
        if not text.strip().isascii():
            raise ValueError  # int() and float() read digits of every script
        return field.element(text)
    except ValueError as error:
        raise UsageError(f"{field.flag} {shown(text)} is not {_expected(field)}.") from error


def _expected(field: Field) -> str:
    noun = NOUNS[field.element]
    words = [*field.option.choices, *([field.option.unset] if field.option.unset else [])]
    return f"{noun} or {' or '.join(dict.fromkeys(words))}" if words else noun


def _typed(field: Field, value: Any, kind: type) -> Any:
    """Return a value as the wanted type; a whole number also serves as a float."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        _check_number(field, value)  # a whole number may be too large for a float
        return float(value)
    if kind is object or not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise UsageError(f"{field.flag} {shown(value)} is not {NOUNS.get(kind, 'a text')}.")
    return value


def shown(value: Any) -> str:
    """Return a value of a configuration file or of the command line as short text for a message."""
    try:
        text = _BRIEF.repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "(a larger number)"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _shown_number(number: float) -> str:
    """Return a number as text; a whole number keeps its digits if there are few."""
    if isinstance(number, int):
        return str(number) if abs(number) < 10**MAX_DIGITS else "a larger number"
    return f"{number:g}"


def parse_size(flag: str, text: str) -> tuple[int, int]:
    """Read height x width in pixels: ``'240x320' -> (240, 320)``."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(_is_count(part) for part in parts):
        raise UsageError(f"{flag} {shown(text)} is not a size: write height x width in pixels, for example 240x320.")
    return int(parts[0]), int(parts[1])


def format_size(size: tuple[int, int]) -> str:
    """Write a size as ``HxW``."""
    return f"{size[0]}x{size[1]}"


def parse_shard(flag: str, text: str) -> tuple[int, int]:
    """Read ``K/N`` with 1 <= K <= N."""
    parts = text.split("/")
    if len(parts) != 2 or not all(_is_count(part) for part in parts) or int(parts[0]) > int(parts[1]):
        raise UsageError(f"{flag} {shown(text)} is not a shard: write K/N with 1 <= K <= N, for example 2/8.")
    return int(parts[0]), int(parts[1])


def format_shard(shard: tuple[int, int]) -> str:
    """Write a shard as ``K/N``."""
    return f"{shard[0]}/{shard[1]}"


def parse_words(text: str) -> tuple[str, ...]:
    """Read words separated by commas, each once: ``'csv, npy' -> ('csv', 'npy')``."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def parse_numbers(flag: str, text: str) -> tuple[int, ...]:
    """Read whole numbers separated by commas: ``'32,64,64' -> (32, 64, 64)``."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(is_whole_number(word) for word in words):
        raise UsageError(f"{flag} {shown(text)}: write whole numbers separated by commas, for example 32,64,128.")
    return tuple(int(word) for word in words)


def is_whole_number(text: str) -> bool:
    """Return whether a text is a whole number of 0 or more, in ASCII digits and not absurdly long."""
    return text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS


def _is_count(text: str) -> bool:
    return is_whole_number(text) and int(text) > 0
