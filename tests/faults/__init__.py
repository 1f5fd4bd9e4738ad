"""One fault at a time, put on a system under load, and what came of it judged. Imports nothing of ours."""
