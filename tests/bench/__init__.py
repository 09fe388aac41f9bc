"""Measurements, run by `make bench`: they write docs/performance.md and are no tests."""
