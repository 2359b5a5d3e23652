"""What the answers are worth: scores, calibration, unknown photos, labels worth a look, checks."""
