"""What a store knows and since when: changes, corporate actions, instruments, gaps, outcomes,
digests.
How a store is kept in one kind of engine stands in a folder of its own.
"""
