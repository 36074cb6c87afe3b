"""Shared machinery of the commands: training, streaming, checkpoints, run folders and result folders."""
