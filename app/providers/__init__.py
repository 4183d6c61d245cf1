"""The positioning services, one folder each; they know neither each other nor the tables."""
