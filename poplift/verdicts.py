"""Verdicts as signed records that name the model files they are about: the gate's, and that of live traffic."""

import hmac
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from poplift import registry
from poplift.registry import RegistryError, Version
from poplift.settings import Settings

VERDICT = "verdict.json"  # run artifact
DIGEST_TAG, SIGNATURE_TAG = "verdict_sha256", "verdict_signature"


@dataclass(frozen=True)
class Judge:
    """Who judged: how the record is called, where it is kept with the run, which tags name it, how to get one."""

    noun: str
    artifact: str
    outcome_tag: str
    digest_tag: str
    signature_tag: str
    to_do: str


GATE = Judge("verdict", VERDICT, "gate", DIGEST_TAG, SIGNATURE_TAG, "run `poplift train` to have it judged")
LIVE = Judge(
    "live verdict", "live-verdict.json", "live", "live_sha256", "live_signature", "run `poplift challenger judge`"
)
ALGORITHM = "HMAC-SHA256"
FIELDS = ("model", "outcome", "reasons", "files", "champion")  # those that readers rely on


class VerdictError(Exception):
    """A version has no verdict that can be trusted; the message says what is missing or does not match."""


@dataclass(frozen=True)
class SignedVerdict:
    """What was decided and every number behind it (`record`), the SHA-256 of its canonical JSON, and the seal.

    A record has at least FIELDS; `files` maps each judged model file to its SHA-256.
    """

    record: Mapping[str, Any]
    sha256: str
    signature: str

    @property
    def outcome(self) -> str:
        """`pass`, `not enough evidence`, and the gate's `refuse` or live traffic's `stop`."""
        return str(self.record["outcome"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in words."""
        return tuple(self.record["reasons"])

    @property
    def is_pass(self) -> bool:
        """Whether the gate let the version through."""
        return self.outcome == "pass"

    @property
    def champion(self) -> str | None:
        """Version of the champion that was in the race; None when there was none."""
        version = self.record["champion"]
        return None if version is None else str(version)

    def tags(self, judge: Judge = GATE) -> dict[str, str]:
        """What the version's tags say of it."""
        return {judge.outcome_tag: self.outcome, judge.digest_tag: self.sha256, judge.signature_tag: self.signature}

    def to_json(self) -> str:
        """The artifact's text."""
        sealed = {"record": self.record, "sha256": self.sha256, "algorithm": ALGORITHM, "signature": self.signature}
        return json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False) + "\n"


def canonical(record: Mapping[str, Any]) -> bytes:
    """The one spelling of a record: sorted keys, no spaces, ASCII; ValueError on NaN or infinity."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def sign(record: Mapping[str, Any], *, key: str) -> SignedVerdict:
    """Seal a record with HMAC-SHA256 (RFC 2104)."""
    spelled = canonical(record)
    return SignedVerdict(dict(record), sha256(spelled).hexdigest(), _seal(spelled, key))


def parse(text: str | bytes, *, key: str, artifact: str = VERDICT) -> SignedVerdict:
    """Read an artifact back; VerdictError when it is torn, changed, or sealed with another key."""
    try:
        stored = json.loads(text)
        spelled = canonical({**stored["record"], **{field: stored["record"][field] for field in FIELDS}})
        claimed = str(stored["signature"])
        verdict = SignedVerdict(stored["record"], str(stored["sha256"]), claimed)
    except (ValueError, KeyError, TypeError) as error:
        raise VerdictError(f"{artifact} is no signed verdict ({error})") from error
    if not hmac.compare_digest(_seal(spelled, key).encode(), claimed.encode()):
        raise VerdictError(
            f"{artifact}: the signature does not match; the record was changed after it was signed, or signed with "
            "another POPLIFT_VERDICT_KEY"
        )
    if sha256(spelled).hexdigest() != verdict.sha256:
        raise VerdictError(f"{artifact}: the digest does not match the record")
    return verdict


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder of model files, by its name."""
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir()) if p.is_file()}


def verified_verdict(settings: Settings, version: Version, judge: Judge = GATE) -> SignedVerdict:
    """The verdict of a registered version, whatever its outcome, if it can be trusted.

    Checked are the signature, that the tags name this very verdict, and that the version still holds the very
    files it was passed on. Raises VerdictError otherwise, and RegistryError when the version has no model files at all.
    """
    where = f"model {version.name} version {version.version}"
    key = settings.verdict_key.get_secret_value()
    try:
        with tempfile.TemporaryDirectory(prefix="poplift-verdict-") as folder:
            copy = Path(folder) / judge.artifact
            registry.copy_artifact(settings, version, judge.artifact, to=copy)
            verdict = parse(copy.read_bytes(), key=key, artifact=judge.artifact)
    except RegistryError as error:
        raise VerdictError(f"{where} has no signed {judge.noun}; {judge.to_do}") from error
    except VerdictError as error:
        raise VerdictError(f"{where}: {error}") from error
    tags = version.tags
    if tags.get(judge.digest_tag) != verdict.sha256 or tags.get(judge.outcome_tag) != verdict.outcome:
        raise VerdictError(f"{where}: its tags do not name its {judge.artifact} (sha256 {verdict.sha256[:12]})")
    if verdict.record["model"] != version.name:
        raise VerdictError(f"{where}: the verdict is about a model {verdict.record['model']}")
    with registry.model_files(settings, version) as files:
        held = file_digests(files)
    judged = dict(verdict.record["files"])
    # MLflow shows the files of its own format beside them; a release takes only those that the judged plan names.
    differ = sorted(name for name in judged if held.get(name) != judged[name])
    if not judged:
        raise VerdictError(f"{where}: the verdict names no model files, so it is about no version")
    if differ:
        raise VerdictError(f"{where}: the verdict is about other files than it holds: {', '.join(differ)}")
    return verdict


def _seal(spelled: bytes, key: str) -> str:
    return hmac.new(key.encode(), spelled, sha256).hexdigest()
