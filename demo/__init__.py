"""The live application: somebody asks aloud, a 3D head answers. ``run_demo.py`` starts it."""
