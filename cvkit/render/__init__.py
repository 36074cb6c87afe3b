"""Draw maps, overlays, contact sheets, learning curves, embeddings and scores of classifiers, and encode images."""

from cvkit.render.colour import colour_map, colourise, overlay, to_uint8, to_uint16
from cvkit.render.confusion import confusion_chart
from cvkit.render.heat import dim_outside, heat_overlay, heat_panel
from cvkit.render.page import PagePoints, embedding_page
from cvkit.render.plane import Plane, latent_grid, planes
from cvkit.render.plots import curves
from cvkit.render.png import encode_png
from cvkit.render.predictions import ClassifiedImage, prediction_sheet
from cvkit.render.reliability import ReliabilityBin, reliability_diagram
from cvkit.render.sheet import contact_sheet
from cvkit.render.sprite import sprite

__all__ = [
    "ClassifiedImage",
    "PagePoints",
    "Plane",
    "ReliabilityBin",
    "colour_map",
    "colourise",
    "confusion_chart",
    "contact_sheet",
    "curves",
    "dim_outside",
    "embedding_page",
    "encode_png",
    "heat_overlay",
    "heat_panel",
    "latent_grid",
    "overlay",
    "planes",
    "prediction_sheet",
    "reliability_diagram",
    "sprite",
    "to_uint8",
    "to_uint16",
]
