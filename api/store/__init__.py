"""What the API reads from.

How a store is kept in one kind of engine stands in a folder of its own.
"""
