"""EDVR: Video Restoration with Enhanced Deformable Convolutional Networks (CVPRW 2019)."""
