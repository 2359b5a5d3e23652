"""Choose the box, pad and square it, cut the close-up out of the original pixels; augment it."""
