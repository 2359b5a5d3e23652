"""Web pages and services on a trained model or a project; they need the extra ``serve``."""
