"""What decoding says of an answer, or a stored body, that is not as documented."""

import msgspec

from reconciler.domain.ids import AccountId

UNDECODABLE = (msgspec.DecodeError, RecursionError, UnicodeError)
"""Everything decoding may raise on a hostile answer: no JSON, another shape, endless nesting, no text."""


class Malformed(ValueError):
    """An answer, or a stored body, of another shape than documented. The message holds none of its content."""


class OfAnotherAccount(Malformed):
    """An answer that names another account than the one that was asked for."""


def want_account(account_id: AccountId, *named: object) -> None:
    """An answer speaks of this account, wherever it names one.

    Raises:
        OfAnotherAccount: it does not.
    """
    if any(isinstance(name, str) and name and name != account_id for name in named):
        raise OfAnotherAccount("it speaks of another account")
