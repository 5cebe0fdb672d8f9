"""Bars as a vendor streams them, and how they come into the minute store.

    vendor ─WebSocket→ connection ─Message→ outbox ─entries→ bus ─→ consumer ─Batch→ MinuteStore

What speaks to a vendor knows its messages and nothing of the bus; what consumes knows the bus and
the rules, and nothing of vendors.
"""
