"""Protocols that are written elsewhere: shapes (pure) and routes, side by side, a folder each."""
