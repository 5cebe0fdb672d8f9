"""Massive (Polygon until 2025): what is asked, what its answers mean. Nothing else knows its wire
format."""
