"""Cronofy over HTTP: the adapter behind `ports.CalendarApi`.

From the outside in: client.py (what the pipeline calls), grants.py (tokens), transport.py (one attempt), then what they
go by: retry.py, pacing.py, breaker.py, errors.py, hosts.py, and the pure limits.py and wire/.
"""
