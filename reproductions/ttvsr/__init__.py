"""TTVSR (Liu et al. 2022): attention along trajectories."""
