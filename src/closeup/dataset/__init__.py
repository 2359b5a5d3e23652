"""Labels and groups to leak-free splits and folds."""
