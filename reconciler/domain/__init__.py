"""What is true about calendar events and what to do about it.

Pure: nothing here awaits, reads a clock or the environment, or logs. Everything a decision needs, the time
included, arrives as an argument, so every decision can be replayed from what the audit trail keeps.
"""
