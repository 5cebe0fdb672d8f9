"""Alpaca: what is asked, what its answers mean. Nothing else knows its wire format."""
