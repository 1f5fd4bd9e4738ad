"""What an attacker tries, from outside: floods, forgeries, tricks. Imports nothing of ours (docs/security-tests.md)."""
