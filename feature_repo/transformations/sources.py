"""What every transformation may look at: the lake's tables, already read as of one instant."""

from dataclasses import dataclass

import ibis


@dataclass(frozen=True)
class Sources:
    """The Ibis tables of the lake, one row per key, holding only what was known at the instant of reading.

    `pos_lines` holds complete weeks only; a week that is still open belongs to the next reading.
    """

    pos_lines: ibis.Table
    promotions: ibis.Table
    products: ibis.Table
    outlets: ibis.Table
    weeks: ibis.Table
    price_calendar: ibis.Table
