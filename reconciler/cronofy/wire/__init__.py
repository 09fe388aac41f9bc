"""JSON as Cronofy speaks it, to and from domain values. The only place that knows field names.

Pure. Unknown fields are skipped and lists of words stay open. What cannot be read becomes a value for one event and
`Malformed` for a whole answer; neither carries anything of the content. Field names and shapes are those of Cronofy's
read-events, userinfo, upsert-event, batch and refresh-token pages.
"""
