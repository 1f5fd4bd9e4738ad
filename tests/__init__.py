"""Tests of Parley: unit (pure), service (one real service), system (the running whole, from outside), architecture."""
