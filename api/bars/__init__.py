"""Bars as values: series, adjustment, resampling. Pure; no request and no store."""
