"""The keyed pseudonym of a shopper: the same id and key give the same twenty characters, in every source and door."""

from hashlib import sha256

LENGTH = 20


def pseudonym(shopper: str, *, key: str) -> str:
    """Pseudonym of a household or loyalty id; the SQL of the sources computes the same."""
    return sha256(f"{key}:{shopper}:{key}".encode()).hexdigest()[:LENGTH]
