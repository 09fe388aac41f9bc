"""Tokens at rest: what is sealed opens as itself, where it belongs, with the keys there are, and nowhere else."""

import base64

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.ids import AccountId
from reconciler.postgres.tokens import Column, TokenSafe, TokenUnreadable

OLD, NEW, OTHER = (base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
ANN, BEN = AccountId("acc_ann"), AccountId("acc_ben")
TOKENS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1).filter(
    lambda text: text == text.strip()
)


@given(
    token=TOKENS | st.sampled_from(["fernet:x", "sealed:1:x", "plain:x", "plain:plain:fernet:x"]),
    keys=st.sampled_from([(), (NEW,), (NEW, OLD)]),
    column=st.sampled_from(["access_token", "refresh_token"]),
)
def test_every_token_opens_as_itself_whatever_it_looks_like(token: str, keys: tuple[str, ...], column: Column) -> None:
    safe = TokenSafe(keys)
    stored = safe.seal(ANN, column, token)
    assert safe.open(ANN, column, stored) == token
    assert not keys or token not in stored or len(token) < len("sealed:1:")


def test_what_an_older_key_sealed_opens_and_is_sealed_with_the_newest_from_then_on() -> None:
    stored = TokenSafe((OLD,)).seal(ANN, "access_token", "secret")
    assert TokenSafe((NEW, OLD)).open(ANN, "access_token", stored) == "secret"
    again = TokenSafe((NEW, OLD)).seal(ANN, "access_token", "secret")
    assert TokenSafe((NEW,)).open(ANN, "access_token", again) == "secret"


def test_what_earlier_versions_encrypted_still_opens() -> None:
    stored = "fernet:" + Fernet(OLD).encrypt(b"secret").decode()
    assert TokenSafe((NEW, OLD)).open(ANN, "refresh_token", stored) == "secret"


def test_a_plain_token_opens_without_the_blanks_around_it() -> None:
    safe = TokenSafe((NEW,))
    assert [safe.open(ANN, "access_token", stored) for stored in (" secret\n", "", " ", None)] == [
        "secret",
        *[None] * 3,
    ]


def test_two_seals_of_one_token_are_not_alike() -> None:
    safe = TokenSafe((NEW,))
    assert safe.seal(ANN, "access_token", "secret") != safe.seal(ANN, "access_token", "secret")


_HERE = TokenSafe((NEW,)).seal(ANN, "access_token", "secret")
ELSEWHERE = {
    "another key": TokenSafe((OTHER,)).seal(ANN, "access_token", "secret"),
    "another account": TokenSafe((NEW,)).seal(BEN, "access_token", "secret"),
    "another column": TokenSafe((NEW,)).seal(ANN, "refresh_token", "secret"),
    "damaged": _HERE[:-4] + "AAAA",
    "another Fernet key": "fernet:" + Fernet(OTHER).encrypt(b"secret").decode(),
    "nothing encrypted": "fernet:",
    "no ASCII, encrypted": "fernet:\u00df",
    "no Fernet token": "fernet:gAAAAA",
    "nothing sealed": "sealed:1:",
    "no ASCII, sealed": "sealed:1:\u00df",
    "too short": "sealed:1:AAAA",
    "no base64": "sealed:1:A",
    "noise": "sealed:1:" + "A" * 64,
}


@pytest.mark.parametrize("keys", [(), (NEW,)])
@pytest.mark.parametrize("what", ELSEWHERE)
def test_what_is_not_sealed_for_this_place_does_not_open(what: str, keys: tuple[str, ...]) -> None:
    safe = TokenSafe(keys)
    with pytest.raises(TokenUnreadable) as refused:
        safe.open(ANN, "access_token", ELSEWHERE[what])
    assert refused.value.kind == "token_unreadable"
    assert "access_token" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert not safe.has_opened
