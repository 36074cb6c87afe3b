"""Readers of images and data sets that several tasks share."""
