"""Alpaca's stream of bars, as its clients speak it: see stream.py."""
