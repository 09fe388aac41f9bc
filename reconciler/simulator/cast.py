"""The people of the demonstration company group, what they meet about, and the bodies their meetings are written with.

Only data and the drawing of believable variety from it; who is in which trouble is told in plots.py. All names and
addresses are invented; every domain ends in `.example`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from reconciler.simulator.times import stamp

WEEKEND = 5
HOOK = "https://hooks.scheduler.example/cronofy?tenant="


@dataclass(frozen=True)
class Customer:
    """One customer of the application."""

    name: str
    manager: str
    domain: str
    data_center: str
    tzid: str
    calendar_provider: str
    people: tuple[str, ...]
    topics: tuple[str, ...]
    place: str


NORDLICHT = Customer(
    name="Nordlicht Recruiting GmbH",
    manager="Marta Kowalczyk",
    domain="nordlicht.example",
    data_center="de",
    tzid="Europe/Berlin",
    calendar_provider="google",
    people=(
        "Jürgen Weiß",
        "Anna Schäfer",
        "Zoë Lindqvist",
        "Paweł Wójcik",
        "Şebnem Yılmaz",
        "Lukas Brandt",
        "Céline Dubois",
        "Ondřej Novák",
        "Aoife Ní Bhriain",
        "Mikkel Sørensen",
        "Đorđe Petrović",
        "Henrike Möller",
        "Ángel Muñoz",
        "Κατερίνα Παπαδοπούλου",
        "Олена Шевченко",
    ),
    topics=(
        "Interview: {guest}, Backend Engineer",
        "Vorstellungsgespräch mit {guest}",
        "Screening call {guest}",
        "Kundengespräch: Suchauftrag für {guest} 🎯",
        "Debrief: {guest} – 2. Runde",
    ),
    place="Torstraße 1, Berlin",
)

HALCYON = Customer(
    name="Halcyon Property Group",
    manager="Priya Raman",
    domain="halcyon.example",
    data_center="uk",
    tzid="Europe/London",
    calendar_provider="exchange",
    people=(
        "Oliver Bennett",
        "Amara Okafor",
        "Siân Pritchard",
        "Niamh O'Connor",
        "Rajesh Iyer",
        "Charlotte Wu",
        "Tomás Ó Sé",
        "Grace Achieng",
        "Edward Fairfax-Lyle",
        "Fatima al-Sayed",
        "Ioan Popescu",
        "Hannah Goldberg",
        "Kwame Mensah",
        "Isla MacDonald",
        "Nguyễn Thị Hương",
    ),
    topics=(
        "Virtual viewing: 14 Elm Road, with {guest}",
        "Valuation call – {guest}",
        "Lease review / {guest}",
        "Sales call: {guest} (Riverside, plots 3 & 4)",
        "Offer discussion “Rose Cottage”, {guest}",
    ),
    place="7 Harbour Street, Bristol",
)

SAKURA = Customer(
    name="さくらクリニック (Sakura Clinics KK)",
    manager="Joaquín Ferreira",
    domain="sakura.example",
    data_center="us",
    tzid="Asia/Tokyo",
    calendar_provider="google",
    people=(
        "佐藤 美咲",
        "高橋 健一",
        "Emily Tanaka",
        "김민준",
        "王小明",
        "João Batista",
        "鈴木 さくら",
        "Maria Santos Cruz",
        "渡辺 翔太",
        "Linh Trần",
        "山本 陽子",
        "Arjun Mehta",
        "中村 大輔",
        "Chloé Martin",
        "小林 真央",
    ),
    topics=(
        "オンライン診療: {guest} 様",
        "初診カウンセリング({guest})",
        "Product demo for {guest}",
        "Follow-up consultation {guest}",
        "採用面接 {guest}",
    ),
    place="東京都渋谷区神南1-2-3",
)

CUSTOMERS = (NORDLICHT, HALCYON, SAKURA)

GUESTS = (
    "Ada Thorne",
    "Björn Åkesson",
    "田中 花子",
    "Chinedu Eze",
    "Dóra Kovács",
    "Émile Gagnon",
    "Farid Haddad",
    "Gülşah Demir",
    "Ольга Іваненко",
    "Hye-jin Park",
)


def address(index: int, customer: Customer) -> str:
    """A mail address in plain ASCII, as companies give them."""
    return f"person{index + 1:02d}@{customer.domain}"


def slot(rng: random.Random, now: datetime, customer: Customer) -> tuple[datetime, datetime]:
    """A meeting in local working hours, within six weeks from tomorrow on."""
    zone = ZoneInfo(customer.tzid)
    day = now.astimezone(zone).date() + timedelta(days=rng.randint(2, 42))
    while day.weekday() >= WEEKEND:
        day += timedelta(days=1)
    start = datetime.combine(day, time(rng.randint(8, 17), rng.choice((0, 15, 30, 45))), zone)
    return start, start + timedelta(minutes=rng.choice((30, 45, 60, 90)))


def write_body(
    rng: random.Random, number: int, customer: Customer, asked: str | None, *, start: datetime, end: datetime
) -> dict[str, Any]:
    """A whole upsert body, in one of the shapes that applications write."""
    guest = rng.choice(GUESTS)
    body: dict[str, Any] = {
        "event_id": f"{customer.domain.split('.', maxsplit=1)[0]}-{4100 + number}",
        "summary": rng.choice(customer.topics).format(guest=guest),
        **_times(number, customer, start, end),
    }
    if asked is not None:
        body["conferencing"] = {"profile_id": asked}
    extras: dict[str, Any] = {
        "description": f"Agenda\n• Begrüßung / 挨拶 / welcome, {guest}\n• Questions & next steps ☕",
        "location": {"description": customer.place},
        "attendees": {"invite": [{"email": f"guest{number}@guests.example", "display_name": guest}]},
        "reminders": [{"minutes": 60}, {"minutes": 10}],
        "subscriptions": [
            {
                "type": "webhook",
                "uri": f"{HOOK}{customer.data_center}",
                "interactions": [{"type": "conferencing_assigned"}, {"type": "conferencing_failing"}],
            }
        ],
        "transparency": "opaque",
        "event_private": True,
    }
    wanted = rng.sample(sorted(extras), k=rng.randint(1, 5))
    return body | {name: extras[name] for name in extras if name in wanted}


_SHAPES = 9
_ALL_DAY, _ZONED, _WITH_TZID = 0, (1, 2, 3), (4, 5)


def _times(number: int, customer: Customer, start: datetime, end: datetime) -> dict[str, Any]:
    """Start and end: now and then all day, often with a zone, mostly UTC."""
    shape = number % _SHAPES
    if shape == _ALL_DAY and number % 2:
        day: date = start.date()
        return {
            "start": day.isoformat(),
            "end": (day + timedelta(days=1)).isoformat(),
            "tzid": customer.tzid,
        }
    if shape in _ZONED:
        return {
            "start": {"time": start.isoformat(timespec="seconds"), "tzid": customer.tzid},
            "end": {"time": end.isoformat(timespec="seconds"), "tzid": customer.tzid},
        }
    times = {"start": stamp(start), "end": stamp(end)}
    return times | {"tzid": customer.tzid} if shape in _WITH_TZID else times
