"""A look at the machine before the show: ``python run_demo.py --doctor``.

``examination.py`` runs the checks side by side, ``isolation.py`` each in a process of its own with its own time limit;
``findings.py`` is what they tell. ``sound.py``, ``picture.py`` and ``machine.py`` hold the checks, one function each.
"""
