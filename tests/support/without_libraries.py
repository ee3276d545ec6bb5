"""Plugin for pytest: the libraries of $WITHOUT can't be imported, and cupy is the stand-in if $STAND_IN is set."""

import os
import sys

import fake_cupy

sys.modules.update(dict.fromkeys(os.environ["WITHOUT"].split()))
if os.environ.get("STAND_IN"):
    sys.modules["cupy"] = fake_cupy.Machine().cupy
