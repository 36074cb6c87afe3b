"""Networks, and how to build them by name."""
