"""The papers: each a package of data (paper.yaml) and code. Others may register their own."""

from __future__ import annotations

from bench.paper import load, names

__all__ = ["load", "names"]
