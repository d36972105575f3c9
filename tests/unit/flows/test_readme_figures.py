"""Figures get into the README between their markers only, and never by hand."""

import pytest

from flows.readme_figures import BEGIN, END, write_figures

METRICS = {
    "poisson_deviance": 0.5,
    "wape_ppg_week": 0.2,
    "bias": -0.01,
    "mean_all_poisson_deviance": 0.7,
    "mean_all_wape_ppg_week": 0.3,
    "mean_all_bias": 0.05,
    "deviance_vs_mean_all": -0.25,
    "deviance_vs_mean_all_low": -0.3,
    "deviance_vs_mean_all_high": -0.2,
}


def test_figures_replace_what_stands_between_the_markers_and_nothing_else(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold figure 0.9\n{END}\nafter\n")
    write_figures(readme, metrics=METRICS, facts=["a fact"])
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"\n* a fact\n{END}\nafter\n")
    assert "old figure" not in text
    assert "| mean_all | 0.700 | -25.0% | -30.0% to -20.0% | 0.300 | +5.0% |" in text


def test_writing_the_same_figures_twice_changes_nothing(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    write_figures(readme, metrics=METRICS, facts=["a fact"])
    once = readme.read_text()
    write_figures(readme, metrics=METRICS, facts=["a fact"])
    assert readme.read_text() == once


def test_a_readme_without_markers_is_refused(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="no lines"):
        write_figures(readme, metrics=METRICS, facts=[])
    assert readme.read_text() == "no markers"
