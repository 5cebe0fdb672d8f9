"""Secrets: the one room that knows where a secret came from, and that none of them is ever shown.

names        every secret by name, in one list
origins      environment, <NAME>_FILE, vault, .env: asked in this order
secret       a Secret: its current and previous values, and what is wrong with its origin
vault        KV v2 of HashiCorp Vault or OpenBao
watch        looks for rotated secrets in the background
redaction    strikes every secret that was ever handed out from what is written
"""
