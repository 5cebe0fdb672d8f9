"""The stages of `make minutes`, as those of `make etl` are: extract, transform, load."""
