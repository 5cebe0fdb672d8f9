"""What a request meets before a route: protocol, gate, ranges, answer cache, shortcut.

`front` is the one list of them. Knows no resource.
"""
