"""Figures of the running program: ``python -m demo.measure conversation``. Each kind is a module with a ``main``."""
