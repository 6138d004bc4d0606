"""The command of the training container."""

import sys

from headway.runtime.job import main

sys.exit(main())
