"""Pictures for people: colour maps, overlays, PNG bytes, contact sheets and learning curves."""

from cvkit.render.colour import colour_map, colourise, overlay, to_uint8, to_uint16
from cvkit.render.heat import dim_outside, heat_overlay, heat_panel
from cvkit.render.plots import curves
from cvkit.render.png import encode_png
from cvkit.render.sheet import contact_sheet

__all__ = [
    "colour_map",
    "colourise",
    "contact_sheet",
    "curves",
    "dim_outside",
    "encode_png",
    "heat_overlay",
    "heat_panel",
    "overlay",
    "to_uint8",
    "to_uint16",
]
