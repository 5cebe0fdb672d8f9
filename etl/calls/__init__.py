"""Paid calls: planned, counted, paced, made and archived.

Speaks of symbols and of what is asked, not of a vendor's wire format.
"""
