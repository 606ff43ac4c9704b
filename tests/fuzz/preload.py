"""What every process that parses has from its start: all imports, and the one seed that takes a second to make."""

from fuzz import child, targets_learned

WORK = child.work
targets_learned._prior()
