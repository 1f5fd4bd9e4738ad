"""Settings from the environment: the only reader of `os.environ`.

Each service derives its own class and keeps every number (limit, timeout) there. A bad value ends the start with one
line that names the setting. A secret or an address may stand in a file instead, which `<NAME>_FILE` names: that is how
containers are given secrets, and an environment is easily shown to others.
"""

import os
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from chassis import failpoints

Port = Annotated[int, Field(ge=1, le=65535)]
PortOrNone = Annotated[int, Field(ge=0, le=65535)]
"""A port, or 0 for none."""
Seconds = Annotated[float, Field(gt=0)]


def _split(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


CommaSeparated = Annotated[list[str], NoDecode, BeforeValidator(_split)]


class BadSetting(ValueError):
    """A setting cannot be used; the text is one line for the operator."""


class _Files(PydanticBaseSettingsSource):
    """Values from the files that `<NAME>_FILE` names, for secrets and for addresses, which may hold one."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return what the file of a setting holds, or None; raise `BadSetting` when it cannot be read."""
        name = field_name.upper()
        file = os.environ.get(f"{name}_FILE")
        if not file or not (field.annotation is SecretStr or name.endswith("_URL")):
            return None, field_name, False
        if os.environ.get(name):
            raise BadSetting(f"{name} and {name}_FILE are both set; one of them has to go")
        try:
            value = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadSetting(f"{name}_FILE={file!r}: {getattr(error, 'strerror', None) or 'not a text'}") from None
        if not value:
            raise BadSetting(f"{name}_FILE={file!r}: the file is empty")
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the values that come from files."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """What every service needs to stand."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    bind_host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.")
    gateway_port: Port = Field(default=8000, description="Port of the gateway (page and WebSocket).")
    auth_port: Port = Field(default=8001, description="Port of the auth service.")
    chat_port: Port = Field(default=8002, description="Port of the chat service's HTTP side (health, metrics).")
    gateway_internal_port: PortOrNone = Field(
        default=0,
        description="Port of the gateway where health and metrics answer, there alone; 0: they answer on GATEWAY_PORT.",
    )
    auth_internal_port: PortOrNone = Field(
        default=0,
        description="Port of the auth service where health and metrics answer, there alone; 0: they answer on "
        "AUTH_PORT.",
    )
    nats_port: Port = Field(default=4222, description="Port of nats-server, when NATS_URL is not set.")
    nats_url: str = Field(default="", description="NATS servers, comma-separated; default nats://127.0.0.1:$NATS_PORT.")
    nats_user: str = Field(default="", description="This service's NATS user; default the service's name.")
    nats_password: SecretStr = Field(
        default=SecretStr(""), description="This service's NATS password. No default secret."
    )
    nats_ping_seconds: Seconds = Field(
        default=2.0, description="Interval of pings to NATS; two unanswered mean it is gone."
    )
    nats_request_seconds: Seconds = Field(default=1.5, description="Deadline of one request over NATS.")
    nats_replicas: int = Field(
        default=1, ge=1, le=5, description="Replicas of each JetStream stream: 1 on one node, 3 in a cluster."
    )
    nats_ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities that sign the certificates of NATS servers; default those of the "
        "system. With it, or with tls:// in NATS_URL, nothing is sent unencrypted.",
    )
    nats_tls_hostname: str = Field(
        default="", description="Name that certificates of NATS servers must carry; default the host in NATS_URL."
    )
    migrate_on_start: bool = Field(
        default=True,
        description="Have auth and chat bring their tables up to date when they start; else they wait until "
        "`migrate` has done it.",
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1",
        description="Addresses and networks (CIDR), by comma, whose X-Forwarded-For and -Proto are believed; * for "
        "all, only where nobody but the proxy can connect.",
    )
    otel_exporter_otlp_endpoint: str = Field(
        default="",
        pattern="^(https?://.+)?$",
        description="Base URL of the collector of traces (OTLP over HTTP, `/v1/traces` is added); empty: no traces.",
    )
    otel_traces_sampler_arg: float = Field(
        default=1.0, ge=0, le=1, description="Share of commands and requests that are traced, from 0 to 1."
    )
    data_dir: Path = Field(default=Path("data"), description="Directory of everything that is kept on this machine.")
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error."
    )
    log_format: str = Field(
        default="auto", pattern="^(auto|json|console)$", description="json, console, or auto: console on a terminal."
    )
    failpoint: str = Field(
        default="",
        pattern=failpoints.PATTERN,
        description="For tests only: place:kill or place:stop, with :n for every n-th time, has the process killed or "
        "stopped there (chassis/failpoints.py). Never set it where people chat.",
    )
    allowed_origins: CommaSeparated = Field(
        default=[],
        description="Origins of pages that may call us, by comma; default localhost and 127.0.0.1 at GATEWAY_PORT.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the code, else the environment, else the files that it names."""
        return init_settings, env_settings, _Files(settings_cls)

    @field_validator("gateway_internal_port", "auth_internal_port")
    @classmethod
    def _apart(cls, port: int, info: ValidationInfo) -> int:
        public = str(info.field_name).replace("_internal", "")
        if port and port == info.data.get(public):
            raise ValueError(f"it is the same as {public.upper()}; the two need ports of their own")
        return port

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _addresses(cls, text: str) -> str:
        if text != "*":
            for one in text.split(","):
                ip_network(one.strip())  # raises for a name, or for bits beyond the prefix
        return text

    @property
    def nats_tls(self) -> bool:
        """Whether the connection to NATS must be encrypted."""
        return self.nats_ca_file is not None or any(url.startswith("tls://") for url in self.nats_servers)

    @property
    def nats_servers(self) -> list[str]:
        """Addresses of NATS, in the form its client takes."""
        if self.nats_url:
            return [url.strip() for url in self.nats_url.split(",")]
        return [f"nats://127.0.0.1:{self.nats_port}"]

    @property
    def origins(self) -> list[str]:
        """Exact origins of pages that may call us."""
        return self.allowed_origins or [f"http://{name}:{self.gateway_port}" for name in ("localhost", "127.0.0.1")]

    @classmethod
    def load(cls) -> Self:
        """Read the environment; raise `BadSetting` with one line that names the first bad setting."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]).upper() if first["loc"] else "settings"
            raise BadSetting(f"{name}={first['input']!r}: {first['msg']}") from None

    @classmethod
    def load_or_exit(cls) -> Self:
        """Read the environment; on a bad setting print its line and end the process with code 2."""
        try:
            return cls.load()
        except BadSetting as error:
            print(f"parley: bad setting {error}", file=sys.stderr)
            raise SystemExit(2) from None


METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(directory: Path) -> None:
    """Have the processes of this service keep their metrics in `directory`, emptied first.

    Must run before anything imports prometheus_client, which chooses between memory and files at import.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.db"):
        old.unlink()
    os.environ[METRICS_DIRECTORY] = str(directory.absolute())


def environment() -> dict[str, str]:
    """Return a copy of the environment, to hand to child processes."""
    return dict(os.environ)
