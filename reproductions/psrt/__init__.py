"""PSRT: Rethinking Alignment in Video Super-Resolution Transformers (NeurIPS 2022)."""
