"""Backup and restore of the streams: docs/operations.md, "Backup and restore"."""
