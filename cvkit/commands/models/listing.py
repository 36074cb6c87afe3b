"""List the models that can be used by name."""

from dataclasses import dataclass

from cvkit.catalog import CLASSIFIERS, SALIENCY_MODELS
from cvkit.commands.models.catalogue import LIBRARY, Weights, describe_weights, nearest_model
from cvkit.config import ListModelsConfig
from cvkit.errors import UsageError
from cvkit.models.published.pretrained import matches
from cvkit.models.published.table import LIBRARIES, listed


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A model that can be used by name.

    Attributes:
        name: Its name.
        library: cvkit, torchvision or timm.
        summary: Description; empty for networks of torchvision and timm.
        weights: Pretrained weights, the default first; empty for cvkit's own networks.
    """

    name: str
    library: str
    summary: str
    weights: tuple[Weights, ...]


@dataclass(frozen=True, kw_only=True)
class ListModelsResult:
    """The models that match: cvkit's first, then those of torchvision and timm."""

    models: tuple[ListedModel, ...]


def list_models(config: ListModelsConfig) -> ListModelsResult:
    """Return the models whose names match a pattern, without building them.

    Raises:
        UsageError: If no name matches.
    """
    summaries = {name: facts.summary for name, facts in SALIENCY_MODELS.items()}
    summaries |= {name: facts.summary for name, facts in CLASSIFIERS.items()}
    own = [
        ListedModel(name=name, library=LIBRARY, summary=summary, weights=())
        for name, summary in summaries.items()
        if matches(name, config.pattern)
    ]
    classifiers = [
        ListedModel(name=name, library=library, summary="", weights=describe_weights(entries))
        for library in LIBRARIES
        for name, entries in listed(library).items()
        if matches(name, config.pattern)
    ]
    if not own and not classifiers:
        near = nearest_model((config.pattern or "").partition(".")[0])
        hint = f"Did you mean '{near}'?" if near else "`cvkit models list` shows all of them."
        raise UsageError(f"no model matches '{config.pattern}'. {hint}")
    return ListModelsResult(models=(*own, *classifiers))
