"""Saliency prediction: networks, data sets, losses, metrics and the predictor."""
