"""Every scenario, in the order in which they run."""

from __future__ import annotations

from ..scenario import Scenario
from . import access, datasets, disks, images, imports, jobs, leavers, models, readers, senders, sharing, store

MODULES = (images, leavers, senders, readers, sharing, access, models, datasets, imports, store, disks, jobs)
ALL: list[Scenario] = [one for module in MODULES for one in module.SCENARIOS]
