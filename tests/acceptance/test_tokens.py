"""A stored token that cannot be used, or an answer of somebody else's, costs that account alone."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet

from reconciler.domain.ids import AccountId
from reconciler.postgres.tokens import TokenSafe
from reconciler.simulator.faults import Fault
from tests.acceptance.program import Done, Planted, Program, Resident, Town

KEY, OTHER = (base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2))
WITH_KEY = {"RECONCILER_TOKEN_KEYS": KEY}
PARTIAL, CONFIGURATION = 3, 78


def person(town: Town, name: str = "Ada Thorne", **columns: Any) -> tuple[Resident, Planted]:
    who = town.resident(name, **columns)
    return who, who.event(who.connect(), link=True)


def seal(who: Resident, key: str = KEY) -> None:
    """Let the row hold its tokens as the reconciler stores them."""
    safe, account_id = TokenSafe((key,)), AccountId(who.row["account_id"])
    who.row["access_token"] = safe.seal(account_id, "access_token", who.row["access_token"])
    who.row["refresh_token"] = safe.seal(account_id, "refresh_token", who.row["refresh_token"])


def kinds(done: Done) -> list[tuple[str, str]]:
    assert "Traceback" not in done.err
    return [(e["account_id"], e["kind"]) for e in done.json["errors"]]


def state_of(town: Town, who: Resident) -> str:
    [row] = town.query("SELECT state FROM reconciler.accounts WHERE account_id = %s", who.row["account_id"])
    return str(row["state"])


@pytest.mark.parametrize("env", [{}, WITH_KEY])
@pytest.mark.parametrize(
    "stored",
    ["fernet:planted", "sealed:1:planted", "fernet:" + Fernet(OTHER).encrypt(b"t").decode()],
    ids=["encrypted", "sealed", "another key"],
)
async def test_a_token_that_cannot_be_opened_costs_that_account_alone(
    program: Program, town: Town, stored: str, env: dict[str, str]
) -> None:
    odd, there = person(town, access_token=stored)
    _, fine = person(town, "Ben Oduya")
    town.move_in()
    done = await program("run", "--json", env=env)
    assert (done.code, kinds(done)) == (PARTIAL, [(odd.row["account_id"], "token_unreadable")])
    assert stored not in done.out + done.err
    assert "access_token cannot be opened" in done.json["errors"][0]["message"]
    assert town.causes() == {fine.key: "assigned"}
    assert state_of(town, odd) == "active"
    assert "token_unreadable" in (await program("explain", *there.key)).out
    assert "token_unreadable" in (await program("status")).out
    assert (await program("report", "--since", "1d", "--format", "html")).code == 0


@pytest.mark.parametrize("env", [{}, {"RECONCILER_TOKEN_KEYS": OTHER}])
async def test_no_stored_token_that_can_be_opened_is_wrong_configuration(
    program: Program, town: Town, env: dict[str, str]
) -> None:
    for name in ("Ada Thorne", "Ben Oduya"):
        seal(person(town, name)[0])
    town.move_in()
    done = await program("run", env=env)
    assert done.code == CONFIGURATION
    [line] = done.complaints
    assert "RECONCILER_TOKEN_KEYS" in line
    assert town.causes() == {}
    assert (await program("run", env=WITH_KEY)).code == 0


async def test_a_pair_that_stands_in_another_row_is_refused(program: Program, town: Town) -> None:
    (ada, at_adas), (ben, at_bens), (_, fine) = (person(town, n) for n in ("Ada Thorne", "Ben Oduya", "Cleo Park"))
    seal(ada)
    seal(ben)
    pair = ("access_token", "refresh_token")
    adas = {name: ada.row[name] for name in pair}
    ada.row |= {name: ben.row[name] for name in pair}
    ben.row |= adas
    town.move_in()
    done = await program("run", "--json", env=WITH_KEY)
    assert done.code == PARTIAL
    assert {account_id for account_id, _ in kinds(done)} == {ada.row["account_id"], ben.row["account_id"]}
    assert {kind for _, kind in kinds(done)} == {"token_unreadable"}
    assert town.causes() == {fine.key: "assigned"}
    assert {at_adas.key, at_bens.key}.isdisjoint(town.states())


async def test_what_an_earlier_version_encrypted_is_sealed_anew_when_it_is_next_written(
    program: Program, town: Town
) -> None:
    who, event = person(town)
    for name in ("access_token", "refresh_token"):
        who.row[name] = "fernet:" + Fernet(KEY).encrypt(who.row[name].encode()).decode()
    town.move_in()
    assert (await program("run", env=WITH_KEY)).code == 0
    assert town.causes() == {event.key: "assigned"}
    who.account.expire_token()
    assert (await program("run", "--recheck-assigned", env=WITH_KEY)).code == 0
    [row] = town.query("SELECT access_token, refresh_token FROM reconciler.accounts")
    safe, account_id = TokenSafe((KEY,)), AccountId(who.row["account_id"])
    assert all(value.startswith("sealed:1:") for value in row.values())
    assert safe.open(account_id, "access_token", row["access_token"]) == who.account.access_token


@pytest.mark.parametrize("env", [{}, WITH_KEY])
async def test_a_refreshed_token_that_begins_like_a_sealed_one_is_stored_as_it_is(
    program: Program, town: Town, env: dict[str, str]
) -> None:
    who, _ = person(town, token_expires_at=town.now - timedelta(days=1))
    _, fine = person(town, "Ben Oduya")
    answer = {"access_token": "fernet:planted", "refresh_token": "sealed:1:planted", "expires_in": 3600}
    town.world.faults.add(Fault("status", status=200, body=answer, match_path="token", times=1))
    town.move_in()
    await program("run", "--json", env=env)
    [row] = town.query(
        "SELECT access_token, refresh_token FROM reconciler.accounts WHERE account_id = %s", who.row["account_id"]
    )
    safe = TokenSafe((KEY,) if env else ())
    pair = safe.pair(AccountId(who.row["account_id"]), {**row, "token_expires_at": None})
    assert pair is not None
    assert (pair.access, pair.refresh) == ("fernet:planted", "sealed:1:planted")
    assert town.causes()[fine.key] == "assigned"
    done = await program("run", "--json", env=env)
    assert "token_unreadable" not in done.out
