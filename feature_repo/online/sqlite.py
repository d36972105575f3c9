"""The SQLite online store class that feature_store.yaml names."""

from typing import Literal

from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from pydantic import AwareDatetime


class GuardedSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):  # type: ignore[misc]
    """Named in feature_store.yaml as `online_store`; `business_time` decides ages and what lies ahead."""

    type: str = "feature_repo.online.sqlite.GuardedSqliteOnlineStore"
    business_time: AwareDatetime | Literal["now"]
    allowed_skew_seconds: float = 300.0


class GuardedSqliteOnlineStore(SqliteOnlineStore):  # type: ignore[misc]
    """Feast's SQLite layout under poplift's write contract."""
