"""The page in a real browser, against the running ring."""
