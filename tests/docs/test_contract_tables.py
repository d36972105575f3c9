"""The contract tables of bring-your-own-data.md are those of the code; run this file to write them again."""

from pathlib import Path

from poplift.contracts.schema import Column, Contract
from poplift.contracts.tables import CONTRACTS, OPTIONAL_CONTRACTS

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/bring-your-own-data.md"
OPENING = "<!-- contracts: written by tests/docs/test_contract_tables.py -->\n"
CLOSING = "<!-- end of contracts -->\n"


def rules(column: Column) -> str:
    """What the check holds the values to, in words."""
    said = ["may be missing" if column.nullable else ""]
    if column.minimum is not None and column.maximum is not None:
        said.append(f"{column.minimum:,.10g} to {column.maximum:,.10g}")
    elif column.minimum is not None:
        said.append(f"at least {column.minimum:,.10g}")
    said.append(f"in `{column.references}`" if column.references else "")
    said.append("" if column.may_be_future else "not after business time")
    said.append(f"personal data: {column.personal}" if column.personal != "none" else "")
    return ", ".join(filter(None, said))


def section(contract: Contract) -> str:
    """One contract as a heading, its facts and a row per column."""
    key = ", ".join(f"`{name}`" for name in contract.key)
    rows = [f"| `{c.name}` | {c.kind} | {c.unit} | {c.description} | {rules(c)} |" for c in contract.columns]
    facts = f"Event time: `{contract.event_time}`. New rows at least every {contract.freshness.days} days."
    lines = [
        f"### {contract.table}",
        f"{contract.grain} Key: {key}. {facts} Owner: {contract.owner}. Version {contract.version}.",
        "",
        "| column | type | unit | what | rule |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines) + "\n"


def expected() -> str:
    """What a source delivers, and then what it may deliver, in the order of their references."""
    return "".join(section(contract) for contract in (*CONTRACTS, *OPTIONAL_CONTRACTS))


def write() -> None:
    """Put the contracts of the code into the page."""
    before, _, rest = PAGE.read_text().partition(OPENING)
    PAGE.write_text(before + OPENING + expected() + CLOSING + rest.partition(CLOSING)[2])


def test_the_contract_tables_of_the_page_are_those_of_the_code() -> None:
    written = PAGE.read_text().partition(OPENING)[2].partition(CLOSING)[0]
    assert written == expected(), "run: python tests/docs/test_contract_tables.py"


def test_every_contract_is_in_the_table_of_what_to_map() -> None:
    asked = PAGE.read_text().partition("## 1. What to map")[2].partition("## 2.")[0]
    delivered = (*CONTRACTS, *OPTIONAL_CONTRACTS)
    assert [c.table for c in delivered if f"| `{c.table}` |" not in asked] == []


if __name__ == "__main__":
    write()
