"""Saliency: networks, data, losses and metrics for maps of eye fixations."""
