"""Submissions: what a contributor hands in, packed, checked by rules, taken over with a status. Never torch."""
