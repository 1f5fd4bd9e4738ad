"""Fuzzers of everything that reads what others wrote: `make fuzz`, for FUZZ_SECONDS."""
