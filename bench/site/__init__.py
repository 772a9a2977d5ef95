"""The page: one HTML file that holds all that it shows."""
