"""Settings: read once from the environment (`RECONCILER_…`), checked together, frozen, passed down.

A secret may also stand in a file: `RECONCILER_DATABASE_URL_FILE=/run/secrets/database_url`.
"""

import errno
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from reconciler.domain.durations import parse_duration
from reconciler.domain.policy import Policy, Substitute
from reconciler.domain.visible import visible
from reconciler.ports import SafetyLimits, WrongConfiguration

PREFIX = "RECONCILER_"
FURTHEST_HORIZON = timedelta(days=200)
LONGEST = timedelta(days=3660)
"""Longer than anything is waited for, and short enough to be added to any moment."""
LONGEST_REQUEST = timedelta(hours=1)
MOST_REPAIRS = 1_000_000_000
"""What the counters in Postgres hold with room to spare."""
MOST_REPAIRS_PER_EVENT = 1000
LEAST_SHARE = 0.001
LEAST_PER_MINUTE, LEAST_PER_SECOND = 1.0, 1 / 60
MOST_REQUESTS = 1_000_000
"""More than any service grants, and few enough to be reckoned with exactly."""
LONGEST_SECRET_FILE = 65_536
"""Bytes."""
SHORTEST_HEARTBEAT, LONGEST_HEARTBEAT = timedelta(seconds=1), timedelta(minutes=10)


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _duration_or_none(value: object) -> object:
    return None if value in {"", "none", "0", None} else _duration(value)


def _words(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _lower(value: object) -> object:
    """Words of a closed list may be written in any case."""
    return value.strip().lower() if isinstance(value, str) else value


def _fernet_keys(keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    from cryptography.fernet import Fernet  # noqa: PLC0415 - slow to load, and mostly without need

    for number, key in enumerate(keys, 1):
        try:
            Fernet(key.get_secret_value())
        except ValueError:
            which = f"key {number} of {len(keys)}" if len(keys) > 1 else "the key"
            how = "the project's docs/settings.md tells how to make one"
            raise ValueError(f"{which} is no Fernet key (32 bytes in url-safe base64); {how}") from None
    return keys


Duration = Annotated[timedelta, BeforeValidator(_duration)]
OptionalDuration = Annotated[timedelta | None, BeforeValidator(_duration_or_none)]


class Settings(BaseSettings):
    """Every setting, with its unit and default; the description is what `reconciler doctor` and the documents show."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    database_url: SecretStr | None = Field(None, description="Postgres address, `postgresql://user:password@host/db`")
    cronofy_client_id: str | None = Field(None, description="Cronofy application: client id")
    cronofy_client_secret: SecretStr | None = Field(None, description="Cronofy application: client secret")
    cronofy_url: str | None = Field(
        None, description="one base URL in place of all data centres; http on loopback only"
    )
    rate_per_second: float = Field(
        50, le=MOST_REQUESTS, allow_inf_nan=False, description="Cronofy's limit for the application, requests a second"
    )
    rate_per_minute: float = Field(
        500,
        ge=LEAST_PER_MINUTE,
        le=MOST_REQUESTS,
        allow_inf_nan=False,
        description="Cronofy's limit for the application, requests a minute",
    )
    rate_share: float = Field(
        0.5, ge=LEAST_SHARE, le=1, description="the part of both that all reconciler processes may use"
    )
    concurrency: int = Field(16, ge=1, le=1000, description="accounts worked at a time")
    engine: Annotated[Literal["local", "pgqueuer"], BeforeValidator(_lower)] = Field(
        "local", description="how work spreads; pgqueuer needs the extra scale"
    )
    heartbeat: Duration = Field(
        timedelta(seconds=30), description="pgqueuer: accounts in hand of a process silent for so long go to the others"
    )
    substitute: Annotated[Substitute, BeforeValidator(_lower)] = Field(
        Substitute.ANY, description="which replacements for a lost profile are allowed"
    )
    grace: Duration = Field(timedelta(minutes=15), description="how long no link is normal after a write")
    horizon: Duration = Field(FURTHEST_HORIZON, description="how far ahead events are looked after, at most 200d")
    escalate_after: Duration = Field(timedelta(hours=24), description="when something unexplained is escalated")
    lookback: Duration = Field(timedelta(hours=24), description="which writes count towards a provider outage")
    max_repairs_per_event: int = Field(
        3, ge=1, le=MOST_REPAIRS_PER_EVENT, description="repairs of one event without a link, then it is escalated"
    )
    max_repairs: int = Field(1000, ge=0, le=MOST_REPAIRS, description="repairs in one run")
    max_repair_share: float = Field(0.25, ge=0, le=1, description="repairs as a share of events read, from the 20th on")
    max_repairs_per_account: int = Field(200, ge=0, le=MOST_REPAIRS, description="repairs of one account in one run")
    max_duration: OptionalDuration = Field(None, description="when a run stops taking accounts; none: never")
    verify_after: OptionalDuration = Field(None, description="when a run looks again at what it repaired; 0: not")
    http_timeout: Duration = Field(timedelta(seconds=30), description="for one request to Cronofy, all told")
    token_keys: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_words), AfterValidator(_fernet_keys)] = (
        Field((), description="Fernet keys for tokens at rest, comma separated, newest first")
    )
    log_format: Annotated[Literal["json", "console"], BeforeValidator(_lower)] = Field(
        "json", description="form of the log lines on stderr"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", description="least level that is logged"
    )

    @model_validator(mode="after")
    def _sensible(self) -> "Settings":
        for name in ("grace", "horizon", "escalate_after", "lookback", "http_timeout", "heartbeat"):
            if getattr(self, name) <= timedelta():
                raise ValueError(f"{PREFIX}{name.upper()}: must be longer than nothing")
        for name in ("grace", "escalate_after", "lookback", "max_duration", "verify_after"):
            if (getattr(self, name) or timedelta()) > LONGEST:
                raise ValueError(f"{PREFIX}{name.upper()}: at most {LONGEST.days}d")
        if self.rate_per_second < LEAST_PER_SECOND:
            raise ValueError(f"{PREFIX}RATE_PER_SECOND: at least one request a minute, which is 0.0167 a second")
        if self.http_timeout > LONGEST_REQUEST:
            raise ValueError(f"{PREFIX}HTTP_TIMEOUT: at most 1h")
        if not SHORTEST_HEARTBEAT <= self.heartbeat <= LONGEST_HEARTBEAT:
            raise ValueError(f"{PREFIX}HEARTBEAT: from 1s to 10m")
        if self.horizon > FURTHEST_HORIZON:
            raise ValueError(f"{PREFIX}HORIZON: at most 200d, Cronofy lists no further")
        return self

    @property
    def policy(self) -> Policy:
        """The settings a decision may depend on."""
        return Policy(
            grace=self.grace,
            escalate_after=self.escalate_after,
            horizon=self.horizon,
            lookback=self.lookback,
            substitute=self.substitute,
            max_repairs_per_event=self.max_repairs_per_event,
        )

    @property
    def limits(self) -> SafetyLimits:
        """How much one run may change."""
        return SafetyLimits(self.max_repairs, self.max_repair_share, self.max_repairs_per_account)

    @property
    def allowance(self) -> tuple[float, float]:
        """Requests per second and per minute for all reconciler processes together."""
        return self.rate_per_second * self.rate_share, self.rate_per_minute * self.rate_share

    def dsn(self) -> str:
        """The database address.

        Raises:
            WrongConfiguration: none is set.
        """
        if self.database_url is None:
            raise WrongConfiguration(f"{PREFIX}DATABASE_URL is not set")
        return self.database_url.get_secret_value()

    def client(self) -> tuple[str, str]:
        """Cronofy's client id and secret.

        Raises:
            WrongConfiguration: either is not set.
        """
        missing = [name for name in ("cronofy_client_id", "cronofy_client_secret") if getattr(self, name) is None]
        if missing or self.cronofy_client_id is None or self.cronofy_client_secret is None:
            raise WrongConfiguration(" and ".join(PREFIX + name.upper() for name in missing) + " must be set")
        return self.cronofy_client_id, self.cronofy_client_secret.get_secret_value()

    def shown(self) -> dict[str, str]:
        """Every setting by its variable, secrets hidden."""
        return {PREFIX + name.upper(): str(getattr(self, name)) for name in type(self).model_fields}


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of an environment (default: this process's).

    Raises:
        WrongConfiguration: one line that names every wrong variable.
    """
    env = dict(os.environ if environment is None else environment)
    own = {k: v.strip() for k, v in env.items() if k.startswith(PREFIX)}
    values = {**_from_files(own), **{k: v for k, v in own.items() if v}}
    fields = {k.removeprefix(PREFIX).lower(): v for k, v in values.items()}
    if odd := [PREFIX + k.upper() for k, v in fields.items() if k in Settings.model_fields and visible(v) != v]:
        raise WrongConfiguration(
            f"{' and '.join(odd)}: control characters, or bytes that are no text, are in the value"
        )
    try:
        return Settings.model_validate({k: v for k, v in fields.items() if k in Settings.model_fields})
    except ValidationError as error:
        raise WrongConfiguration("; ".join(_problem(dict(e)) for e in error.errors(include_url=False))) from None


def unknown_settings(environment: Mapping[str, str] | None = None) -> list[str]:
    """Variables with our prefix that mean nothing here: usually a typing mistake."""
    env = os.environ if environment is None else environment
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    return sorted(k for k in env if k.startswith(PREFIX) and k not in known)


def _from_files(env: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for variable, path in env.items():
        name = variable.removesuffix("_FILE")
        if (
            variable.startswith(PREFIX)
            and name != variable
            and name.removeprefix(PREFIX).lower() in Settings.model_fields
        ):
            try:
                found[name] = _text_of(Path(path))
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or "it is not UTF-8 text"
                raise WrongConfiguration(f"{variable}: the file cannot be read ({why})") from None
    return found


def _text_of(path: Path) -> str:
    """A file's text without the blanks around it; a device that never ends is left after what a secret may have."""
    with path.open("rb") as file:
        content = file.read(LONGEST_SECRET_FILE + 1)
    if len(content) > LONGEST_SECRET_FILE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content.decode("utf-8-sig").strip()


def _problem(error: dict[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    location = error.get("loc") or ()
    return f"{PREFIX}{str(location[0]).upper()}: {message}" if location else message
