"""The motion of a face taken along into other tools: ARKit weights, Live Link Face, glTF.

``motion.py`` reads what ``python -m streamingtalker.generate`` wrote, ``fitting.py`` finds the weights, ``arkit.py``
writes them, ``gltf.py`` and ``gltf_parts.py`` a head that moves by them. ``python -m demo.export --help`` is the
command line.
"""
