"""Out again: a project's photos, boxes, labels, splits and answers in other tools' formats."""
