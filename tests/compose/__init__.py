"""The ring as docker compose brings it up, from images that were built here: `python -m tests.compose`."""
