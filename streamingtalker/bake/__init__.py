"""Bakes an avatar file from the MakeHuman base mesh: ``python -m streamingtalker.bake``."""
