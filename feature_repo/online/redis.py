"""The Redis online store class that feature_store.yaml names."""

from typing import Literal

from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from pydantic import AwareDatetime


class GuardedRedisOnlineStoreConfig(RedisOnlineStoreConfig):  # type: ignore[misc]
    """Named in feature_store.yaml as `online_store`; `business_time` decides ages and what lies ahead."""

    type: str = "feature_repo.online.redis.GuardedRedisOnlineStore"
    business_time: AwareDatetime | Literal["now"]
    allowed_skew_seconds: float = 300.0


class GuardedRedisOnlineStore(RedisOnlineStore):  # type: ignore[misc]
    """Feast's Redis layout under poplift's write contract."""
