"""Metrics of saliency maps."""
