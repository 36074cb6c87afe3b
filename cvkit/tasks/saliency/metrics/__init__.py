"""What maps and predictions are scored by."""
