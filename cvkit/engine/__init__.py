"""The machinery every verb shares: the training loop, the stream of files, ledgers, checkpoints, progress."""
