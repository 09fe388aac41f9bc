"""What Cronofy says about an account: userinfo, account, profiles, calendars (cronofy-api.md sections 4 and 5).

`profile_relink_url` is there only while a profile is disconnected. Removed conferencing profiles are gone. No flag
tells which conferencing profile is the default.
"""

from __future__ import annotations

from typing import Any

from reconciler.simulator.accounts import (
    SERVICES,
    Account,
    Calendar,
    CalendarProfile,
    ConferencingProfile,
    relink_url,
)


def userinfo(account: Account) -> dict[str, Any]:
    """GET /v1/userinfo."""
    profiles = [
        {**_calendar_profile(p), "profile_calendars": [_calendar(c) for c in p.calendars]} for p in account.profiles
    ]
    return {
        "sub": account.account_id,
        "email": account.email,
        "name": account.name,
        "zoneinfo": account.zoneinfo,
        "cronofy.type": "account",
        "cronofy.data": {
            "authorization": {"scope": account.scope, "status": "active"},
            "profiles": profiles,
            "conferencing_profiles": [_common(account, p) for p in account.conferencing_profiles],
        },
    }


def details(account: Account) -> dict[str, Any]:
    """GET /v1/account."""
    held = {
        "account_id": account.account_id,
        "email": account.email,
        "name": account.name,
        "scope": account.scope,
        "default_tzid": account.zoneinfo,
    }
    return {"account": held, "sub": account.account_id}


def profiles(account: Account) -> dict[str, Any]:
    """GET /v1/profiles: calendar profiles only."""
    return {"profiles": [_calendar_profile(p) for p in account.profiles]}


def calendars(account: Account) -> dict[str, Any]:
    """GET /v1/calendars."""
    rows = [
        {
            "provider_name": calendar.profile.provider_name,
            "profile_id": calendar.profile.profile_id,
            "profile_name": calendar.profile.profile_name,
            **_calendar(calendar),
        }
        for calendar in account.calendars()
    ]
    return {"sub": account.account_id, "calendars": rows}


def _common(account: Account, profile: CalendarProfile | ConferencingProfile) -> dict[str, Any]:
    held: dict[str, Any] = {
        "provider_name": profile.provider_name,
        "profile_id": profile.profile_id,
        "profile_name": profile.profile_name,
        "profile_connected": profile.connected,
    }
    if not profile.connected:
        held["profile_relink_url"] = relink_url(account, profile.provider_name)
    return held


def _calendar_profile(profile: CalendarProfile) -> dict[str, Any]:
    return {
        **_common(profile.account, profile),
        "provider_service": SERVICES.get(profile.provider_name, profile.provider_name),
        "profile_initial_sync_required": False,
    }


def _calendar(calendar: Calendar) -> dict[str, Any]:
    held: dict[str, Any] = {
        "calendar_id": calendar.calendar_id,
        "calendar_name": calendar.name,
        "calendar_readonly": calendar.readonly,
        "calendar_deleted": calendar.deleted,
        "calendar_primary": calendar.primary,
        "calendar_attachments_available": False,
        "permission_level": "sandbox",
    }
    if calendar.integrated is not None:
        held["calendar_integrated_conferencing_available"] = calendar.integrated
    return held
