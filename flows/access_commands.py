"""The commands around the API's keys: create, list, revoke."""

from typing import Annotated

import typer

from flows.invocation import settings
from poplift.clock import wall_now

key_commands = typer.Typer(help="Keys of the API's clients.", no_args_is_help=True)


@key_commands.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is; logs and limits call the client so.")],
    *,
    role: Annotated[list[str], typer.Option(help="read, decide, ingest or operate; may be given several times.")],
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    from serving.access.keys import ApiKeys
    from serving.access.roles import AccessError, Role

    unknown = sorted(set(role) - set(Role))
    if unknown:
        raise AccessError(f"{', '.join(unknown)}: no such role; choose from {', '.join(Role)}")
    key = ApiKeys(settings().access_dir).create(name, [Role(one) for one in role], at=wall_now())
    typer.echo("Keep it now, it is not shown again:", err=True)
    typer.echo(key)


@key_commands.command("list")
def list_keys() -> None:
    """Ids, names and roles of all keys, revoked ones too."""
    from flows.console import Console
    from serving.access.keys import ApiKeys

    keys = ApiKeys(settings().access_dir).all()
    rows = [[k.id, k.name, ", ".join(k.roles), k.made_at, k.revoked_at or ""] for k in keys]
    Console().table(f"{len(rows)} keys", ["id", "name", "roles", "made", "revoked"], rows)


@key_commands.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `poplift keys list` shows it.")]) -> None:
    """Take a key back; within seconds no process of the API accepts it."""
    from serving.access.keys import ApiKeys

    key = ApiKeys(settings().access_dir).revoke(key_id, at=wall_now())
    typer.echo(f"{key.id} of {key.name} is revoked")
