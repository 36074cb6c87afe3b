"""Classification networks that torchvision and timm lack."""
