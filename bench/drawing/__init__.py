"""The figures for papers, by matplotlib."""
