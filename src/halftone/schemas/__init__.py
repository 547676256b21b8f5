"""Schemas drafted from a table: proposals, with what each guess was taken from, for a person to check and attest."""
