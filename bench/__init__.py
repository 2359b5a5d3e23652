"""Where the figures in README and docs come from; see docs/accuracy.md."""
