"""List, read and check photos; the decoded picture."""
