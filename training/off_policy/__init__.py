"""Off-policy evaluation: what another policy would have brought, from the log of the one that ran."""
