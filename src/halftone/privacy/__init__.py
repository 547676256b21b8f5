"""Differential privacy: what a cost means (``conversion``, light), and noise bought with it (``measure``, in workers alone)."""
