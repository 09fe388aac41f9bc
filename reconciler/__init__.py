"""Finds calendar events that have no video link yet, says why, and repairs what can be repaired safely."""

__version__ = "0.1.0"
