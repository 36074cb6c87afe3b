"""Saliency data sets: images, maps and fixations."""
