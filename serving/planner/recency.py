"""How long ago an outlet last ran a ppg, from the online features; what nobody knows is not guessed."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from feature_repo.catalog import VIEWS
from serving.online import FeatureReader
from serving.planner.eligible import LineKey

VIEW = next(view for view in VIEWS if view.name == "outlet_ppg_promotion")
FEATURE = "weeks_since_promotion"
CHUNK_PAIRS = 2000


def weeks_since_activation(
    reader: FeatureReader, pairs: Sequence[LineKey], *, business_time: datetime
) -> dict[LineKey, float]:
    """Weeks since the last activation, 1 for the last closed week, 27 for longer or never, of the pairs that are known.

    A pair is left out where the store has no row of it, or one so old that an activation since would not be seen.
    Raises whatever the reader raises.
    """
    now = np.datetime64(business_time.astimezone(UTC).replace(tzinfo=None), "us")
    oldest = now - np.timedelta64(VIEW.soft_age)
    since: dict[LineKey, float] = {}
    for start in range(0, len(pairs), CHUNK_PAIRS):
        chunk = pairs[start : start + CHUNK_PAIRS]
        read = reader.read([{"outlet_id": outlet, "ppg_id": ppg} for outlet, ppg in chunk])
        weeks = np.asarray(read.values[FEATURE], dtype=np.float64)
        events = read.event_timestamps[VIEW.name]
        known = np.isfinite(weeks) & ~np.isnat(events) & (events >= oldest)
        since |= {chunk[i]: float(weeks[i]) for i in np.flatnonzero(known).tolist()}
    return since
