"""What docs/operations.md tells operators to do, done to real servers. Imports nothing of ours."""
