"""What the worker does to calendar events: read back, judge, repair, record, one account at a time."""
