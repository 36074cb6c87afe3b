"""Image classification: pretrained networks of torchvision and timm, labels, ground truth and accuracy."""
