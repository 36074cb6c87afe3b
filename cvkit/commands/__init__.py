"""Commands: each takes a Config and returns a frozen Result."""
