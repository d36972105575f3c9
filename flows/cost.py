"""What a running API spent and what its decisions cost, asked of the API itself."""

from pathlib import Path

import httpx

from poplift.settings import Settings

# Below this the processor seconds of starting weigh more than those of answering.
FEW = 1_000


class CostError(Exception):
    """The API does not tell; the message says why and what to do."""


def cost_of_decisions(settings: Settings, *, key_file: Path | None = None) -> str:
    """One sentence with decisions, processor time, price and cost; CostError when nothing answers.

    `key_file` holds a key with the role `read`, where the API asks for one.
    """
    from serving.cost import spent

    address = f"http://{settings.api_host}:{settings.api_port}/metrics"
    try:
        headers = {"Authorization": f"Bearer {key_file.read_text().strip()}"} if key_file else {}
    except OSError as error:
        raise CostError(f"--key-file {key_file}: cannot be read: {error.strerror}") from error
    try:
        answer = httpx.get(address, timeout=10, headers=headers)
    except httpx.TransportError as error:
        raise CostError(f"no API answers at {address} ({error}): start it with `poplift serve`") from error
    if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise CostError(f"{address} wants a key with the role read: `poplift keys create`, then --key-file")
    if answer.status_code != httpx.codes.OK:
        raise CostError(f"{address} answers {answer.status_code}: {answer.text[:200]}")
    told = spent(answer.text)
    price = f"at {told.cpu_hour_usd:g} USD for a processor hour (declared, POPLIFT_CPU_HOUR_USD)"
    used = f"{told.decisions:,.0f} decisions and {told.cpu_seconds:,.1f} processor seconds since the API started"
    if told.cost_usd is None:
        return f"{used}; {price}, what a decision costs shows with the first one"
    start = "; of so few, much of it is the start" if told.decisions < FEW else ""
    return f"{used}: {told.cost_usd:,.2f} USD for a million decisions {price}{start}"
