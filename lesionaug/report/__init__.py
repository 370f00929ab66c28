"""One page that shows a data set: what was added, how it compares, what went wrong."""
