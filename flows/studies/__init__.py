"""Simulation studies: every claim about effects, plans and experiments, judged against known truth."""
