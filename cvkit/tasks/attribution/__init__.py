"""Why a classifier decided as it did: the CAM family and guided backpropagation, on any network and layer."""

from cvkit.tasks.attribution.explain import Explainer, Explanation
from cvkit.tasks.attribution.methods import METHODS

__all__ = ["METHODS", "Explainer", "Explanation"]
