"""The motion of a face taken along into other tools: ARKit weights, Live Link Face, glTF.

``motion.py`` reads what ``python -m streamingtalker.generate`` wrote, ``arkit.py`` finds the weights, ``gltf.py`` and
``gltf_parts.py`` write a head that moves by them. ``python -m demo.export --help`` is the command line.
"""
