"""DUF (Jo et al., CVPR 2018): the frames that its authors released."""
