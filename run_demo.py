"""Talk to a 3D head: ``python run_demo.py``; ``--help`` lists what else it can do."""

import sys

from demo.app import main

if __name__ == "__main__":
    sys.exit(main())
