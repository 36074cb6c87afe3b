"""Labelled images for training and scoring classifiers."""
