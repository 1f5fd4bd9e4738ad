"""Knows who you are: accounts, guests, sessions, tokens, keys, tickets, revocations."""
