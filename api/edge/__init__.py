"""What a request meets before a route: protocol, gate, ranges, answer cache, shortcut.

Knows no resource.
"""
