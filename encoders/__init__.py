"""What turns texts, sessions and facts into vectors.

torch computes with threads of OpenMP. Here they sleep while they wait for each other, unless the environment says
otherwise. By themselves they spin: on cores that have other work, too, each of their steps then waits for a thread
that does not run. A GRU trained on two cores, one of them busy, makes 11 steps a second where they sleep, and .8 where
they spin; alone it makes 16 and 20.
"""

import os

if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read once, when torch is imported
