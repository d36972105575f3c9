"""The one reader of the environment: a profile is a file of values, variables named POPLIFT_… override it."""

import os
import tempfile
import tomllib
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AwareDatetime, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from poplift.assumptions import CPU_HOUR_USD
from poplift.clock import wall_now

REPOSITORY = Path(__file__).resolve().parent.parent
# Nothing here calls home unless somebody asks it to.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
NO_BARS = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}  # of single files, in the middle of what a command says
# What traces are filed under, unless the one who collects them says otherwise.
SERVICE_NAME = {"OTEL_SERVICE_NAME": "poplift"}
DEMO_SHOPPER_KEY = "public-demo-key"
# Prometheus' client looks at it when it is imported, and so does Feast, which sets it to a folder of its own.
METRICS_VARIABLE, METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR", "poplift-metrics-"
DEMO_VERDICT_KEY = "public-demo-verdict-key"


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the variable."""


class ProfileFile(PydanticBaseSettingsSource):
    """Values of `poplift/profiles/<profile>.toml`, below the environment in rank."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Unused: the whole file is handed over at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Read the file of the profile that arguments or the environment name."""
        name = str(self.current_state.get("profile", "local"))
        path = Path(__file__).parent / "profiles" / f"{name}.toml"
        if not path.exists():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.toml")))
            raise SettingsError(f"POPLIFT_PROFILE={name!r} is not a profile; choose one of: {known}")
        return tomllib.loads(path.read_text())


class Settings(BaseSettings):
    """Everything that differs between a laptop and production, read once at the entry point."""

    model_config = SettingsConfigDict(env_prefix="POPLIFT_", frozen=True, extra="forbid")

    profile: Literal["local", "production"] = Field("local", description="Which file of defaults applies.")
    home: Path = Field(REPOSITORY / "var", description="Folder of all state of the local profile.")
    business_time: AwareDatetime = Field(
        datetime(2018, 1, 2, 5, tzinfo=UTC),
        description="Until when the data is known; decides features, ages and the coming week.",
    )
    business_clock: Literal["still", "wall"] = Field(
        "still", description="still: business time is what POPLIFT_BUSINESS_TIME says; wall: it is the present instant."
    )
    source: str = Field(
        "poplift.sources.complete_journey:CompleteJourney",
        pattern=r"^[\w.]+:\w+$",
        description="Where the data comes from: module:Class of a source.",
    )
    seed: int = Field(7, ge=0, description="Seed of every random draw.")
    threads: int = Field(2, ge=1, description="Threads of training; part of the model file's bytes.")
    shopper_key: SecretStr = Field(
        SecretStr(DEMO_SHOPPER_KEY),
        description="Key of the pseudonyms of shoppers; must be set in production.",
    )
    verdict_key: SecretStr = Field(
        SecretStr(DEMO_VERDICT_KEY),
        description="Key that signs the gate's verdicts; must be set in production.",
    )
    promote_after: Literal["gate", "shadow", "canary"] = Field(
        "gate",
        description="What a promotion needs: the gate's pass alone, or that of the shadow or of a canary after it.",
    )
    search_trials: int = Field(4, ge=1, description="Trials of the hyper-parameter search.")
    offline_engine: Literal["duckdb", "spark"] = Field(
        "duckdb", description="What builds training sets and materialises: duckdb, or spark where one machine ends."
    )
    spark_master: str = Field("local[2]", description="Where Spark runs; anything but local needs Redis online.")

    postgres_url: str | None = Field(None, description="postgresql+psycopg://user@host:port/ without database.")
    database_prefix: str = Field("poplift", pattern=r"^[a-z][a-z0-9_]{0,40}$", description="Prefix of databases.")
    redis_url: str | None = Field(None, description="host:port of the online store, with Feast's options after it.")
    online_store: Literal["sqlite", "redis", "postgres"] | None = Field(
        None, description="Where online features are kept; by default redis where its URL is set, else sqlite."
    )
    mlflow_url: str | None = Field(None, description="Tracking server; without one the database is used directly.")
    artifact_url: str | None = Field(None, description="Where MLflow keeps artifacts; a folder under home by default.")

    access: Literal["open", "required"] = Field(
        "open",
        description="open: the API asks nobody who they are and answers this machine only; required: keys or tokens.",
    )
    oidc_issuer: str | None = Field(
        None, description="Issuer whose tokens the API accepts beside keys, as tokens name it."
    )
    oidc_audience: str | None = Field(None, description="Audience a token must be meant for; needed with an issuer.")
    oidc_algorithm: Literal["RS256", "PS256", "ES256", "EdDSA"] = Field(
        "RS256", description="The one algorithm that tokens may be signed with."
    )
    oidc_roles_claim: str = Field("roles", description="Claim of a token that lists its roles.")
    client_rate: float = Field(100.0, gt=0, description="Requests a second of one client, for each process of the API.")
    client_burst: int = Field(200, ge=1, description="Requests of one client at once, before its rate counts.")
    api_host: str = Field("127.0.0.1", description="Address the API binds to.")
    api_port: int = Field(8000, ge=0, le=65535, description="Port of the API.")
    cpu_hour_usd: float = Field(
        CPU_HOUR_USD, ge=0, allow_inf_nan=False, description="Price of a processor hour, for the cost of decisions."
    )
    mlflow_port: int = Field(5000, ge=0, le=65535, description="Port of the MLflow UI of `make up`.")
    prefect_port: int = Field(4200, ge=0, le=65535, description="Port of the Prefect UI of `make up`.")
    feast_port: int = Field(8888, ge=0, le=65535, description="Port of the Feast UI of `make up`.")
    reports_port: int = Field(8001, ge=0, le=65535, description="Port of the HTML reports of `make up`.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over profile file over defaults."""
        return init_settings, env_settings, ProfileFile(settings_cls)

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        # Commands and servers start in different folders and must meet in one home.
        return value.expanduser().absolute()

    @model_validator(mode="after")
    def _production_names_its_servers(self) -> Self:
        if self.profile == "production":
            missing = [n for n in ("postgres_url", "redis_url") if getattr(self, n) is None]
            if missing:
                names = ", ".join(f"POPLIFT_{n.upper()}" for n in missing)
                raise ValueError(f"profile 'production' needs {names}")
            if self.shopper_key.get_secret_value() == DEMO_SHOPPER_KEY:
                raise ValueError("profile 'production' needs POPLIFT_SHOPPER_KEY: the demo key is public")
            if self.verdict_key.get_secret_value() == DEMO_VERDICT_KEY:
                raise ValueError("profile 'production' needs POPLIFT_VERDICT_KEY: the demo key is public")
            if self.access == "open":
                raise ValueError("profile 'production' needs POPLIFT_ACCESS=required: it asks everybody who they are")
        return self

    @model_validator(mode="after")
    def _an_issuer_signs_for_an_audience(self) -> Self:
        if (self.oidc_issuer is None) != (self.oidc_audience is None):
            raise ValueError("POPLIFT_OIDC_ISSUER and POPLIFT_OIDC_AUDIENCE are set together or not at all")
        return self

    @model_validator(mode="after")
    def _the_online_store_has_a_server(self) -> Self:
        urls = {"redis": self.redis_url, "postgres": self.postgres_url}
        if self.online_store in urls and urls[self.online_store] is None:
            raise ValueError(f"POPLIFT_ONLINE_STORE={self.online_store} needs POPLIFT_{self.online_store.upper()}_URL")
        if "://" in (self.redis_url or ""):
            raise ValueError("POPLIFT_REDIS_URL is host:port, such as 127.0.0.1:6379, without a scheme before it")
        return self

    @model_validator(mode="after")
    def _a_cluster_writes_to_a_server(self) -> Self:
        is_cluster = self.offline_engine == "spark" and not self.spark_master.startswith("local")
        if is_cluster and self.redis_url is None:
            raise ValueError(
                f"POPLIFT_SPARK_MASTER={self.spark_master} needs POPLIFT_REDIS_URL: executors on other machines "
                "cannot write to the SQLite file of this one"
            )
        return self

    def now(self) -> datetime:
        """Business time at this moment; a step reads it once, so that all of its work is about one instant."""
        return wall_now() if self.business_clock == "wall" else self.business_time

    @cached_property
    def online_store_kind(self) -> Literal["sqlite", "redis", "postgres"]:
        """Where online features are kept."""
        return self.online_store or ("redis" if self.redis_url else "sqlite")

    @cached_property
    def lake_dir(self) -> Path:
        """Root of the bitemporal Parquet tables."""
        return self.home / "lake"

    @cached_property
    def features_dir(self) -> Path:
        """Root of the feature tables that Feast reads."""
        return self.home / "features"

    @cached_property
    def releases_dir(self) -> Path:
        """Releases and the pointer to the served one."""
        return self.home / "releases"

    @cached_property
    def ledger_path(self) -> Path:
        """The ledger of every move of an alias."""
        return self.home / "ledger.jsonl"

    @cached_property
    def reports_dir(self) -> Path:
        """HTML reports."""
        return self.home / "reports"

    @cached_property
    def read_plans_dir(self) -> Path:
        """What reading online needs of the feature registry, one file a feature service."""
        return self.home / "read-plans"

    @cached_property
    def predictions_dir(self) -> Path:
        """Batch scores, one file a week."""
        return self.home / "predictions"

    @cached_property
    def plans_dir(self) -> Path:
        """Plans of activations, one file a plan, and which was the last."""
        return self.home / "plans"

    @cached_property
    def decisions_dir(self) -> Path:
        """The decision log."""
        return self.home / "decisions"

    @cached_property
    def access_dir(self) -> Path:
        """Hashes of the API's keys."""
        return self.home / "access"

    @cached_property
    def experiments_dir(self) -> Path:
        """Launch records of experiments, one file each."""
        return self.home / "experiments"

    def database_url(self, name: str) -> str:
        """SQLAlchemy URL of one of the platform's databases: `registry`, `mlflow`, `prefect` or `online`."""
        if self.postgres_url is not None:
            return f"{self.postgres_url.rstrip('/')}/{self.database_prefix}_{name}"
        return f"sqlite:///{self.home / f'{name}.db'}"

    @cached_property
    def mlflow_tracking_uri(self) -> str:
        """Server if there is one, else the database."""
        return self.mlflow_url or self.database_url("mlflow")

    @cached_property
    def mlflow_artifact_root(self) -> str:
        """URL of the artifact folder or bucket."""
        return self.artifact_url or (self.home / "mlflow-artifacts").as_uri()


def child_environment(settings: Settings, **more: str) -> dict[str, str]:
    """Environment for a process of ours: the present one, every setting that was given, and `more`."""
    given = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is not None:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            given[f"POPLIFT_{name.upper()}"] = plain.isoformat() if isinstance(plain, datetime) else str(plain)
    return {**os.environ, **given, **more}


def share_metrics() -> Path:
    """Let the processes started from here on count into one new folder, so that each of them can tell the sums."""
    folder = Path(tempfile.mkdtemp(prefix=METRICS_FOLDER))
    os.environ[METRICS_VARIABLE] = str(folder)
    return folder


def shared_metrics() -> Path | None:
    """The folder into which several serving processes count; None where there is but one, or it is not ours."""
    folder = Path(os.environ.get(METRICS_VARIABLE, ""))
    return folder if folder.name.startswith(METRICS_FOLDER) else None


def load_settings(**overrides: Any) -> Settings:
    """Read profile and environment; raise SettingsError that names the variable when it is wrong or unknown."""
    for variable, value in {**QUIET, **NO_BARS, **SERVICE_NAME}.items():
        os.environ.setdefault(variable, value)
    known = {f"POPLIFT_{name.upper()}" for name in Settings.model_fields}
    for variable in sorted(os.environ):
        if variable.startswith("POPLIFT_") and variable not in known:
            near = get_close_matches(variable, known, n=1)
            raise SettingsError(f"{variable} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        return Settings(**overrides)
    except ValidationError as error:
        said = [(e["loc"], e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        lines = [f"POPLIFT_{str(loc[0]).upper()}: {what}" if loc else what for loc, what in said]
        raise SettingsError("; ".join(lines)) from error
