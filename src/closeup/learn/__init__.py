"""From close-ups to a classifier: embeddings, heads, fine-tuning."""
