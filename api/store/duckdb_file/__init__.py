"""The published DuckDB file: snapshots of it, and one function a question.

The only SQL of the API.
"""
