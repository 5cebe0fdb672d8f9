"""What is told to those who listen: bars as they are published, to many, each at its own pace.

    minute store ─changes→ Hub ─Told→ Listener ─→ GET /stream (server-sent events), WebSocket

A hub looks for a new generation while somebody listens, reads what changed once, and hands it on.
Nobody waits for another: who is too slow is told so, and let go.
"""
