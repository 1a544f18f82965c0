"""Talk to a 3D head: ``python run_demo.py``; ``--help`` lists what else it can do."""

import sys

if __name__ == "__main__":  # the server's process reads this file, too
    try:
        from demo.app import main

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
