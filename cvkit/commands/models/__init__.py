"""List, show, download and locate the models that can be used by name."""
