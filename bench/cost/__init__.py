"""What networks cost on a device: time, memory, FLOPs."""
