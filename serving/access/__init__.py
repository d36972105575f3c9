"""Who may ask what: roles of routes, keys, tokens of an issuer, and how often a client may ask."""
