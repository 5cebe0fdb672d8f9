"""Paid calls: planned, counted, paced, made and archived.

Speaks of vendors, symbols and datasets (vendor.py), never of a vendor's wire format.
"""
