"""The test bench: real servers that a test starts, kills and starts again. Imports nothing of ours."""
