"""A readout as a row of the contract `readouts`: what the next fit of effects may learn from."""

import json
from datetime import datetime
from typing import Any

from monitoring.experiments.readout import Readout


def table_row(readout: Readout, *, read_at: datetime) -> dict[str, Any] | None:
    """The row; None where no effect may be shown. `standard_error` is of one look, the bounds hold at every look.

    A fit takes rows with `is_final`, as N(effect, standard_error²) per outlet and week with the activation.
    """
    effect, record = readout.effect, readout.record
    if effect is None:
        return None
    return {
        "experiment": record.name,
        "activation": record.activation,
        "ppg_ids": json.dumps(list(record.ppg_ids)),
        "first_week": record.first_week,
        "weeks": readout.weeks_with,
        "weeks_observed": readout.weeks_observed,
        "outlets": sum(readout.ratio.seen.values()),
        "effect": effect.estimate.effect,
        "standard_error": effect.estimate.standard_error,
        "effect_low": effect.interval.low,
        "effect_high": effect.interval.high,
        "is_final": readout.is_final,
        "verdict": readout.verdict.word,
        "read_at": read_at,
        "created_at": read_at,
    }
