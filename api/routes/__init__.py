"""Thin: declare typed parameters, build a view, return. One module a resource.

`context` is what every route reads from, `lists` and `pages` are how answers with rows go out. No
resource knows another; the protocols know the context alone.
"""
