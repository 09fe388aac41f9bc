"""An answer of another account's, or a token that no header can hold, costs that account alone."""

from datetime import timedelta

import pytest

from reconciler.simulator.faults import Fault
from tests.acceptance.program import Program, Town
from tests.acceptance.test_tokens import PARTIAL, kinds, person, state_of


@pytest.mark.parametrize("named", [{"account_id": "acc_else"}, {"sub": "acc_else"}])
async def test_a_refreshed_pair_of_another_account_is_not_stored(
    program: Program, town: Town, named: dict[str, str]
) -> None:
    who, event = person(town, token_expires_at=town.now - timedelta(days=1))
    _, fine = person(town, "Ben Oduya")
    answer = {"access_token": "foreign", "refresh_token": "foreign", "expires_in": 3600, **named}
    town.world.faults.add(Fault("status", status=200, body=answer, match_path="token"))
    town.move_in()
    done = await program("run", "--json")
    assert (done.code, kinds(done)) == (PARTIAL, [(who.row["account_id"], "wrong_account")])
    assert done.json["requests"]["token"] == 1
    tokens = town.query("SELECT access_token, refresh_token FROM reconciler.accounts")
    assert "foreign" not in str(tokens)
    assert event.key not in town.states()
    assert town.causes()[fine.key] == "assigned"
    assert state_of(town, who) == "active"


async def test_a_userinfo_of_another_account_decides_nothing(program: Program, town: Town) -> None:
    who = town.resident()
    lost, linked = who.event("pro_gone", stuck=True), who.event("default", link=True)
    other = town.resident(name="Ben Oduya")
    other.connect()
    fine = other.event("pro_gone", stuck=True)
    answer = {
        "sub": other.row["account_id"],
        "cronofy.data": {"profiles": [], "conferencing_profiles": [{"profile_id": "pro_x", "provider_name": "zoom"}]},
    }
    town.world.faults.add(
        Fault("status", status=200, body=answer, match_path="userinfo", account_id=who.account.account_id)
    )
    town.move_in()
    done = await program("run", "--json")
    assert (done.code, kinds(done)) == (PARTIAL, [(who.row["account_id"], "wrong_account")])
    assert lost.event.writes == []
    assert {lost.key, linked.key}.isdisjoint(town.states())
    assert fine.event.writes
    listed = "SELECT profile_id FROM reconciler.known_profiles WHERE account_id = %s"
    assert town.query(listed, who.row["account_id"]) == []


@pytest.mark.parametrize("token", ["two words", "line\nX-Injected: 1", "carriage\rreturn", "t\u00f6ken", "x" * 5000])
async def test_a_token_that_no_header_can_hold_is_not_sent(program: Program, town: Town, token: str) -> None:
    who, event = person(town, access_token=token, refresh_token=None)
    renewed, again = person(town, "Cleo Park", access_token=token)
    _, fine = person(town, "Ben Oduya")
    town.move_in()
    done = await program("run", "--json")
    assert "Traceback" not in done.err
    assert token not in done.out + done.err
    assert town.causes() == {event.key: "account_unauthorized", again.key: "assigned", fine.key: "assigned"}
    assert (state_of(town, who), state_of(town, renewed)) == ("parked", "active")
    assert not any(request.account_id == who.row["account_id"] for request in town.world.requests)
