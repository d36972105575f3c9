"""Step: put the previous release back; the alias goes with it, at once where MLflow answers."""

from flows.steps.progress import Progress, silent
from poplift.settings import Settings
from serving.rollback import roll_back as put_back

ALIAS_SECONDS = 10.0  # whoever builds a release meanwhile finds the owed move before activating it


def roll_back(settings: Settings, *, who: str, why: str, progress: Progress = silent) -> str:
    """Put the previous release back and make its model champion again; returns its id.

    Serving does not wait for the alias: what the ledger owes and cannot do now is done by the next release step.
    Raises what `serving.rollback.roll_back` raises.
    """
    back = put_back(settings, who=who, why=why)
    progress(f"release {back.release_id} is active again")
    if back.owed is None:
        return back.release_id
    try:
        _move_alias(settings)
    except Exception as error:  # noqa: BLE001 - MLflow, its database, its lock, the network: serving is back already
        progress(f"its model is not champion yet ({type(error).__name__}); the next release step moves the alias")
    else:
        progress("its model is champion")
    return back.release_id


def _move_alias(settings: Settings) -> None:
    # Only now: what it takes to ask MLflow loads for seconds, and serving is back by then.
    from flows.steps.promote import CHAMPION_LOCK, reconcile
    from poplift.databases import exclusive

    with exclusive(settings, CHAMPION_LOCK, seconds=ALIAS_SECONDS):
        reconcile(settings)
