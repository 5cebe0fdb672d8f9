"""Exchanges and their sessions: which calendar a symbol keeps, and which days that calendar
trades."""
