"""Settings of one installation: defaults, then `hub.yaml`, then the environment (`YIPAN_WEB__PORT=8000`)."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from core.errors import Misconfigured
from core.model.marked import read_model


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _network(text: str) -> str:
    ip_network(text)
    return text


Network = Annotated[str, AfterValidator(_network)]
"""A network as CIDR, e.g. `10.0.0.0/8`."""


class Web(_Part):
    """Where the doors are. trust_forwarded: believe X-Forwarded-For of a proxy in front."""

    host: str = "127.0.0.1"
    port: int = Field(8020, ge=0, le=65535)
    session_hours: int = 12
    secure_cookies: bool = False
    trust_forwarded: bool = False


class Outbound(_Part):
    """allow: networks (CIDR) that connections may reach although they are not public; empty by default."""

    allow: tuple[Network, ...] = ()


class Bus(_Part):
    """Hints through a broker: `filesystem` (embedded) or an amqp:// URL; rows are the truth either way."""

    hints: bool = True
    broker: str = "filesystem"
    queue_prefix: str = "yipan."
    threads: int = Field(8, ge=1, le=64)
    sweep_s: float = 1.0
    lease_s: float = 30.0
    retry_s: float = 5.0
    timeout_s: float | None = None
    mends_per_day: int = Field(100, ge=0)
    """Listings whose shop shows something else without a cause that are told again by themselves, a day."""
    stop_percent: int = Field(30, ge=0, le=100)
    """A run that would empty, or change by more than half, more than so many percent of a shop's listings stops."""
    stop_listings: int = Field(20, ge=1)
    """And at least so many of them."""
    stop_window_s: float = Field(0.0, ge=0)
    """With those that were emptied, or fell by more than half, in so many seconds before. 0: each run by itself."""
    stale_s: float = Field(900.0, gt=0)
    """A shop's figures do not rise while its orders, or a warehouse's stock, were not read for so long."""
    patience: float = Field(1.0, gt=0)
    """Multiplies the waits of connectors (polls, settle times): the demo runs at a fraction."""


class Keys(_Part):
    """key_file: master keys, one a line, first seals; outside the data folder."""

    key_file: Path | None = None


class Whole(_Part):
    """What `hub.yaml` may say. database: a SQLAlchemy URL; by default SQLite in the data folder."""

    home: Path = Path("~/.yipan")
    database: str = ""
    web: Web = Web()
    outbound: Outbound = Outbound()
    bus: Bus = Bus()
    vault: Keys = Keys()
    language: str = "en"


class Settings(Whole, BaseSettings):
    """Everything an installation can set, from all its sources."""

    model_config = SettingsConfigDict(env_prefix="YIPAN_", env_nested_delimiter="__", extra="forbid")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=_file())

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.home.expanduser() / "data"

    @property
    def database_url(self) -> str:
        """The database, SQLite in the data folder when none is named."""
        return self.database or f"sqlite:///{self.data / 'yipan.sqlite'}"

    @property
    def key_file(self) -> Path:
        """The master keys' file; it lies beside the data folder, never inside."""
        return self.vault.key_file or self.home.expanduser() / "keys" / "master.key"


def load(**given: Any) -> Settings:
    """The settings; raises Misconfigured with file, line and key of every mistake in `hub.yaml`, or the variable."""
    file = _file()
    if file.exists():
        read_model(file, Whole)
    try:
        return Settings(**given)
    except ValidationError as error:
        raise Misconfigured("; ".join(f"{_variable(e['loc'])}: {e['msg']}" for e in error.errors())) from None
    except SettingsError as error:
        raise Misconfigured(f"the environment: {error}") from None


def _variable(where: tuple[int | str, ...]) -> str:
    return "YIPAN_" + "__".join(str(name).upper() for name in where)


def _file() -> Path:
    named = os.environ.get("YIPAN_CONFIG")
    home = Path(os.environ.get("YIPAN_HOME", "~/.yipan")).expanduser()
    return Path(named) if named else home / "hub.yaml"
