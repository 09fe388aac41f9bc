"""A small Cronofy for development and tests: real HTTP on loopback, a virtual clock, and faults on demand.

It shares no code with the rest of the reconciler: a misreading shared by both sides would pass every test. It never
stands in for Cronofy in production: it binds to loopback only and refuses what looks like a real secret.
"""

from reconciler.simulator.faults import Fault
from reconciler.simulator.scenes import load_scene
from reconciler.simulator.server import Simulator
from reconciler.simulator.settings import Settings
from reconciler.simulator.world import World

__all__ = ["Fault", "Settings", "Simulator", "World", "load_scene"]
