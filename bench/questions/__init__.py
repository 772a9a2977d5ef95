"""What is asked of frames whose number is not as expected."""
