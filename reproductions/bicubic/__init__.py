"""Bicubic interpolation: the baseline row of the papers' tables."""
