"""Pretrained weights that torchvision and timm publish: find them by name and read their metadata."""
