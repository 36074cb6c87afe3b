"""Train a network: fit loop, optimisers, sampling, exact resume and validation."""
