"""Check the docs against the code."""

import importlib.util
import re
from pathlib import Path

import pytest

from cvkit.catalog import SALIENCY_MODELS
from cvkit.config.train_saliency import LOSSES

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))


def test_the_command_reference_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate_cli", ROOT / "docs/generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert (ROOT / "docs/cli.md").read_text() == generator.reference(), "run: python docs/generate_cli.py"


def test_the_readme_is_short_and_begins_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert text.index("make demo") < 1500
    assert text.index("make test") < 1500


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS], ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS], ids=lambda page: page.name)
def test_every_option_named_in_the_docs_exists(page: Path) -> None:
    known = set(re.findall(r"--[a-z][a-z0-9-]+", (ROOT / "docs/cli.md").read_text()))
    known |= {"--help", "--version", "--data", "--nproc-per-node", "--nodes", "--array", "--threads", "--signal"}
    for block in re.findall(r"cvkit [^\n`]*", page.read_text()):
        for option in re.findall(r"--[a-z][a-z0-9-]+", block):
            assert option in known, f"{page.name}: {option}"


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_test_named_in_the_docs_exists(page: Path) -> None:
    for path in re.findall(r"`(tests/[\w/]+(?:\.py)?)`", page.read_text()):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


def test_every_model_and_loss_is_described() -> None:
    text = (ROOT / "docs/models.md").read_text()
    for name in (*SALIENCY_MODELS, *LOSSES[1:]):
        assert f"`{name}`" in text
