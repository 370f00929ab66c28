"""One file per command: a frozen dataclass that is its own command line, and `run`."""
