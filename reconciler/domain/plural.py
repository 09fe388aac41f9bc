"""Numbers with their nouns, for everything that people read."""


def many(number: int, one: str, several: str | None = None) -> str:
    """A number with the form that it calls for, by default with an `s`: "1 event", "2,400 events"."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
