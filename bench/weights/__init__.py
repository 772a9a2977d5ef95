"""Weight files read without running any code that they name."""
