"""What a person sees of an effects fit: a row per activation, and where the report is."""

from flows.console import Console
from flows.steps.effects import Fitted

COLUMNS = ["activation", "transactions a week added", "95 % interval", "margin, USD", "overlap", "evidence"]


def show(console: Console, fitted: Fitted) -> None:
    """Averages over outlets and ppgs, per outlet, ppg and week, net of switching and of the dip afterwards."""
    if fitted.averages is None:
        console.say(f"  nothing to fit: version {fitted.version} is of this data, code and seed; {fitted.rows:,} rows")
    else:
        rows = [
            [
                str(row["activation"]),
                f"{row['incremental_transactions']:+.3f}",
                f"{row['incremental_transactions_low']:+.3f} to {row['incremental_transactions_high']:+.3f}",
                f"{row['incremental_margin_usd']:+.2f}",
                f"{row['overlap']:.0%}",
                str(row["evidence"]),
            ]
            for row in fitted.averages.to_dict("records")
            if row["activation"] != "none"
        ]
        console.table("What activations add, per outlet, ppg and week", COLUMNS, rows)
        console.say(
            f"  effects version {fitted.version}: {fitted.rows:,} rows written and online, evidence sufficient in "
            f"{fitted.sufficient_share:.0%}"
        )
    console.where("report:", fitted.report)
