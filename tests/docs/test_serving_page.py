"""What the page about serving declares of missing features is what the catalog and the policy declare."""

import re
from pathlib import Path

from feature_repo.catalog import VIEWS
from serving.policy import Degradation

PAGE = (Path(__file__).parents[2] / "docs/concepts/serving.md").read_text()


def test_the_page_names_the_ages_of_every_view_and_whether_its_defaults_may_be_spent_on():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) days \| (\d+) days \| (yes|no) \|$", PAGE, re.MULTILINE)
    free = Degradation().spend_without
    assert rows == [
        (view.name, str(view.soft_age.days), str(view.ttl.days), "yes" if view.name in free else "no") for view in VIEWS
    ]


def test_the_page_names_what_each_route_answers_without_the_store():
    (line,) = [line for line in PAGE.splitlines() if line.startswith("| the store does not answer")]
    for route in ("demand", "recommendations"):
        default, other = Degradation.model_fields[route].default, "refuse"
        assert re.search(rf"`{route}`: `{default}`[^|]*`{other}`", line), route
