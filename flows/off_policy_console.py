"""What a person sees of valued policies: a table of transactions, one of net margin, and what was refused."""

from flows.console import Console
from poplift.statistics import Interval
from training.off_policy.platform_log import Valued

COLUMNS = ["policy", "DR", "SNIPS", "Switch-DR", "effective sample"]


def show(console: Console, valued: Valued) -> None:
    """Values per decision with their 95 % intervals; a policy without a value has its reason below."""
    console.line(
        f"{valued.decisions:,} decisions of {valued.outlets:,} outlets in {valued.weeks} weeks; what was recommended "
        f"is what ran in {valued.followed:.0%}; {valued.budget:.0%} were to run something"
    )
    for why, count in valued.left_out.items():
        console.line(f"{count:,} decisions left out: {why}")
    for outcome, title, digits in (
        ("transactions", "Transactions per decision", 3),
        ("net_margin_usd", "Net margin per decision, USD", 2),
    ):
        rows = []
        for policy in valued.policies:
            if value := getattr(policy, outcome):
                intervals = (value.doubly_robust, value.self_normalised, value.switch)
                said = [_said(interval, digits) for interval in intervals]
                rows.append([policy.policy, *said, f"{value.effective_share:.0%}"])
            else:
                rows.append([policy.policy, "refused", "", "", ""])
        console.table(title, COLUMNS, rows)
    for policy in valued.policies:
        if policy.refused:
            console.line(f"{policy.policy}: {policy.refused}")
    declared = valued.assumptions
    console.line(
        f"all: {valued.everything} everywhere; unit margin {declared.unit_margin:.0%}, display "
        f"{declared.display_cost_usd:.2f} USD, mailer {declared.mailer_cost_usd:.2f} USD. {declared.note}"
    )


def _said(interval: Interval, digits: int) -> str:
    return f"{interval.estimate:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"
