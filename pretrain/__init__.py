"""Training of the packaged models: one fit loop, one command per model."""
