"""The store as one DuckDB file: the next version is built beside the published one and takes its
place."""
