"""Explain the decision of a classifier by heat maps: the CAM family and guided backpropagation."""

from cvkit.tasks.attribution.explain import Explainer, Explanation
from cvkit.tasks.attribution.methods import METHODS

__all__ = ["METHODS", "Explainer", "Explanation"]
