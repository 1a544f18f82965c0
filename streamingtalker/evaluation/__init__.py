"""Scoring motion: whole splits, long sequences, articulation, recordings; what ``streamingtalker.evaluate`` runs."""
