"""Contracts of what the platform itself writes: decisions, what became of them, and what experiments found."""

from datetime import timedelta

from poplift.contracts.schema import Column, Contract

WHAT_BECAME = ("shown", "opened", "accepted", "executed", "refused")
ARMS = ("policy", "explored", "holdout", "control", "treatment")
VERDICTS = ("ship", "do_not_ship", "keep_running", "not_enough_evidence")
YEAR = timedelta(days=366)


def _text(name: str, what: str, *, nullable: bool = False, allowed: tuple[str, ...] = ()) -> Column:
    return Column(name=name, kind="string", description=what, nullable=nullable, allowed=allowed)


def _number(name: str, what: str, *, nullable: bool = False) -> Column:
    return Column(name=name, kind="float", description=what, unit="transactions per outlet and week", nullable=nullable)


def _instant(name: str, what: str, *, may_be_future: bool = False) -> Column:
    return Column(name=name, kind="timestamp", description=what, unit="UTC", may_be_future=may_be_future)


CREATED_AT = _instant("created_at", "When the row became known.")

DECISIONS = Contract(
    table="decisions",
    version=1,
    grain="One row per served recommendation of one ppg at one outlet.",
    owner="product-ml",
    key=("decision_id",),
    event_time="decided_at",
    freshness=timedelta(days=8),
    columns=(
        _text("decision_id", "The id that the answer carried."),
        _text("outlet_id", "Where."),
        _text("ppg_id", "Promoted product group."),
        _instant("week_starts_at", "First local day of the week that was decided.", may_be_future=True),
        _text("activation", "What was recommended, by its short name."),
        _text("candidates", "What could have been recommended: JSON list of short names."),
        _text("propensities", "Probability of every candidate, in their order: JSON list."),
        Column(
            name="propensity",
            kind="float",
            description="Probability with which what was recommended was to be.",
            minimum=1e-9,
            maximum=1,
        ),
        _text("arm", "Why: the policy, a draw, the holdout, or an arm of an experiment.", allowed=ARMS),
        _text("experiment", "Which experiment decided.", nullable=True),
        _text("policy", "Policy of the release."),
        _text("release_id", "Release that answered."),
        _instant("decided_at", "When it was decided."),
        CREATED_AT,
    ),
)
SHADOW_ANSWERS = Contract(
    table="shadow_answers",
    version=1,
    grain="One row per answer that nobody saw: of one ppg at one outlet, by the release beside the one that answered.",
    owner="product-ml",
    key=("decision_id",),
    event_time="decided_at",
    freshness=YEAR,
    columns=(
        _text("decision_id", "Its own id."),
        _text("shadow_of", "The id that the answer carried which was seen."),
        _text("outlet_id", "Where."),
        _text("ppg_id", "Promoted product group."),
        _instant("week_starts_at", "First local day of the week that was asked about.", may_be_future=True),
        _text("activation", "What was recommended or asked about, by its short name."),
        Column(
            name="transactions",
            kind="float",
            description="Predicted under it.",
            unit="transactions a week",
            minimum=0,
        ),
        Column(name="degraded", kind="bool", description="Features were missing or too old."),
        _text("release_id", "Release that answered."),
        Column(name="milliseconds", kind="float", description="Processor time of the answer.", unit="ms", minimum=0),
        Column(
            name="served_milliseconds",
            kind="float",
            description="Processor time of the answer that was seen.",
            unit="ms",
            minimum=0,
        ),
        _instant("decided_at", "When it was decided."),
        CREATED_AT,
    ),
)
EXECUTIONS = Contract(
    table="executions",
    version=1,
    grain="One row per report of what became of a recommendation.",
    owner="field-sales",
    key=("execution_id",),
    event_time="reported_at",
    freshness=timedelta(days=8),
    columns=(
        _text("execution_id", "Id given by whoever reports: sent again it counts once."),
        Column(
            name="decision_id",
            kind="string",
            description="The recommendation concerned.",
            references="decisions.decision_id",
        ),
        _text("outcome", "What became of it.", allowed=WHAT_BECAME),
        _text("activation", "What was run, where it is not what was recommended.", nullable=True),
        _instant("reported_at", "When it happened."),
        CREATED_AT,
    ),
)
READOUTS = Contract(
    table="readouts",
    version=1,
    grain="One row per experiment and number of weeks observed.",
    owner="product-ml",
    key=("experiment", "weeks_observed"),
    event_time="read_at",
    freshness=YEAR,
    columns=(
        _text("experiment", "Name of the experiment."),
        _text("activation", "What the treated outlets ran, by its short name."),
        _text("ppg_ids", "For which ppgs: JSON list."),
        Column(name="first_week", kind="int", description="First week of the experiment."),
        Column(name="weeks", kind="int", description="Weeks with the activation that the effect is per.", minimum=1),
        Column(name="weeks_observed", kind="int", description="Weeks seen, those afterwards included.", minimum=1),
        Column(name="outlets", kind="int", description="Outlets of both arms.", minimum=2),
        _number("effect", "Net effect of the activation on all transactions of its portfolio."),
        Column(
            name="standard_error",
            kind="float",
            description="Standard error of the effect, outlets being the clusters.",
            unit="transactions per outlet and week",
            minimum=0,
        ),
        _number("effect_low", "Lower bound of the effect, valid at every look."),
        _number("effect_high", "Upper bound of the effect, valid at every look."),
        Column(name="is_final", kind="bool", description="All weeks and those afterwards are in."),
        _text("verdict", "What the readout advises.", allowed=VERDICTS),
        _instant("read_at", "When it was read."),
        CREATED_AT,
    ),
)

DECISION_CONTRACTS = (DECISIONS, SHADOW_ANSWERS, EXECUTIONS, READOUTS)
