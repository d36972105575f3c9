"""Pure Ibis expressions, tables in, table out."""
