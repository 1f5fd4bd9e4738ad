"""The public suite of an official SDK, run against the ring as it ships: `make conformance`."""
