"""STDAN: Deformable Attention Network for Space-Time Video Super-Resolution (TNNLS 2023)."""
