"""How fast the model is: what ``streamingtalker.bench`` runs."""
