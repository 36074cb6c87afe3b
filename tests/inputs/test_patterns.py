"""Test that glob patterns match as in the shell."""

import glob
from pathlib import Path

import pytest

from cvkit.inputs.patterns import expand_pattern

NAMES = (
    "a.jpg",
    "b/a.jpg",
    "b/c/a.jpg",
    "b/c/x[1].png",
    "b/.h/a.jpg",
    ".h/a.jpg",
    "b/.a.jpg",
    "e/c/d/a.PNG",
    "**b/a.jpg",
)


PATTERNS = [
    "*",
    "*/*",
    "**",
    "**/*",
    "**/*.jpg",
    "b/**",
    "b/**/*.jpg",
    "**/c/**/*",
    "*/**/a.*",
    "**/.h/*",
    "**/.a.jpg",
    "**b/*",
    "**/**/a.jpg",
    "**/[!a]*",
    "b/**/x[[]1].png",
    "**/?.jpg",
    "**/b/a.jpg",
    "./**/a.jpg",
    "none/**/a.jpg",
    ".h/**/*",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_match_the_same_files_as_glob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for root in ("", f"{tmp_path}/"):
        expected = sorted({Path(p) for p in glob.glob(root + pattern, recursive=True) if not Path(p).is_dir()})  # noqa: PTH207
        assert [found.path for found in expand_pattern(root + pattern)] == expected
