"""Load with faults, for as long as asked: `make soak`. Imports nothing of ours but the test bench."""
