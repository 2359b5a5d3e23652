"""What a run gives, and one self-contained HTML page about it."""
