"""List the models that can be used by name."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from cvkit.catalog import SALIENCY_MODELS
from cvkit.commands.models.showing import OURS, Weights, _nearest, _weights
from cvkit.config import ListModelsConfig
from cvkit.errors import UsageError
from cvkit.models.published import pretrained


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A model that can be used by name; ``weights`` has the default first, and is empty for our saliency networks."""

    name: str
    library: str
    summary: str
    weights: tuple[Weights, ...]


@dataclass(frozen=True, kw_only=True)
class ListModelsResult:
    """The models that match, ours first, then torchvision's and timm's."""

    models: tuple[ListedModel, ...]


def list_models(config: ListModelsConfig) -> ListModelsResult:
    """Return the models whose names match; nothing is built. Raises UsageError where none does."""
    ours = [
        ListedModel(name=facts.name, library=OURS, summary=facts.summary, weights=())
        for facts in SALIENCY_MODELS.values()
        if _matches(facts.name, config.pattern)
    ]
    theirs = [
        ListedModel(name=name, library=library, summary="", weights=_weights(pretrained.entries(name)))
        for name, library in pretrained.names(config.pattern)
    ]
    if not ours and not theirs:
        near = _nearest((config.pattern or "").partition(".")[0])
        hint = f"Did you mean '{near}'?" if near else "`cvkit models list` shows them all."
        raise UsageError(f"no model matches '{config.pattern}'. {hint}")
    return ListModelsResult(models=(*ours, *theirs))


def _matches(name: str, pattern: str | None) -> bool:
    glob = (pattern or "*").lower()
    return fnmatchcase(name, glob if re.search(r"[*?\[]", glob) else f"*{glob}*")  # as pretrained.names reads it
