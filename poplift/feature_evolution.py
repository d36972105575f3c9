"""What a registered feature service promises its readers, and which changes of the definitions would break that."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

RETIRED = "retired"
GUIDE = "docs/how-to/change-a-feature.md"


class BreakingChangeError(Exception):
    """The definitions would break a registered service; the message says which promise and what to do instead."""


@dataclass(frozen=True)
class Promise:
    """One view as a service hands it out: entities, age limit, features and request fields with their types."""

    view: str
    entities: frozenset[str]
    ttl: timedelta | None
    features: Mapping[str, str]
    request: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    """A feature service: what it promises, and why it may go, if its readers were told so."""

    name: str
    promises: tuple[Promise, ...]
    retired: str = ""


def services_of(objects: Iterable[Any]) -> dict[str, Service]:
    """The services among Feast objects; the views that they hand out have to be among them too."""
    found = list(objects)
    views = {o.name: o for o in found if hasattr(o, "features") and not hasattr(o, "feature_view_projections")}
    return {
        o.name: Service(
            o.name,
            tuple(_promise(views[p.name], p) for p in o.feature_view_projections if p.name in views),
            (o.tags or {}).get(RETIRED, ""),
        )
        for o in found
        if hasattr(o, "feature_view_projections")
    }


def breaking_changes(registered: Mapping[str, Service], defined: Mapping[str, Service]) -> tuple[str, ...]:
    """What a reader of the registered services would trip over, in words; empty when nothing.

    Free: a new view, service or feature, a longer age limit, descriptions, and whatever no service hands out. A
    service goes only after it was registered with the tag `retired`.
    """
    found = []
    for _, old in sorted(registered.items()):
        new = defined.get(old.name)
        if new is not None:
            found += [f"service {old.name}: {change}" for change in _service_changes(old, new)]
        elif not old.retired:
            found.append(f"service {old.name} is gone, and its readers were not told: register it as {RETIRED} first")
    return tuple(found)


def refuse_breaking(registered: Iterable[Any], defined: Iterable[Any]) -> None:
    """Raise BreakingChangeError when Feast objects that are `defined` break services that are `registered`."""
    found = breaking_changes(services_of(registered), services_of(defined))
    if found:
        listed = "\n  ".join(found)
        raise BreakingChangeError(
            f"these definitions break what is registered, nothing was changed:\n  {listed}\nKeep the view and the "
            f"service as they are, and put the change beside them as <view>_v2 and <service>_v2: {GUIDE}"
        )


def _promise(view: Any, projection: Any) -> Promise:
    handed = {f.name for f in projection.features}
    return Promise(
        view=view.name,
        # Feast lists them in any order; on-demand views have none of their own.
        entities=frozenset(getattr(view, "entities", None) or ()),
        ttl=getattr(view, "ttl", None),
        features={f.name: str(f.dtype) for f in view.features if f.name in handed},
        request={
            f.name: str(f.dtype)
            for source in getattr(view, "source_request_sources", {}).values()
            for f in source.schema
        },
    )


def _service_changes(old: Service, new: Service) -> Iterator[str]:
    now = {promise.view: promise for promise in new.promises}
    for promise in old.promises:
        if promise.view not in now:
            yield f"view {promise.view} is gone"
        else:
            yield from _view_changes(promise, now[promise.view])


def _view_changes(old: Promise, new: Promise) -> Iterator[str]:
    if old.entities != new.entities:
        yield f"view {old.view}: the entities were {_listed(old.entities)} and are {_listed(new.entities)}"
    if new.ttl and (not old.ttl or new.ttl < old.ttl):
        yield f"view {old.view}: the age limit was {old.ttl or 'none'} and is {new.ttl}"
    for name, dtype in old.features.items():
        if name not in new.features:
            yield f"feature {old.view}.{name} is gone"
        elif new.features[name] != dtype:
            yield f"feature {old.view}.{name} was {dtype} and is {new.features[name]}"
    for name, dtype in new.request.items():
        if old.request.get(name) != dtype:
            was = f"was {old.request[name]} and is {dtype}" if name in old.request else "is new, and no caller sends it"
            yield f"view {old.view}: request field {name} {was}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
