"""How often a caller may ask: the Limiter that RATE_LIMIT chooses.

policies   what is allowed: RATE_LIMIT and TOKEN_RATE_LIMIT, read as the library `limits` does
windows    who has asked how often: counters in this process, of bounded memory
leases     the same over several processes: blocks of requests, leased from Redis
limiter    the Limiter: spends, refuses, tells what is left
"""
