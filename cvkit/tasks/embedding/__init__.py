"""Embed a data set: autoencoder, projections, metrics and tables of codes."""
