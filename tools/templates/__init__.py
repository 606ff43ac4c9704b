"""Procedural templates of the nine object categories, built from primitives; our own work, released under CC0.

`python -m tools.templates` rewrites the shipped files; the same code always gives the same bytes.
"""

from collections.abc import Callable

from tools.templates.balls_and_bars import barbell, baseball, basketball, yogaball
from tools.templates.bicycle import bicycle
from tools.templates.boards import skateboard, tennis
from tools.templates.bowed import cello, violin
from tools.templates.template import Template

BUILDERS: dict[str, Callable[[], Template]] = {
    builder.__name__: builder
    for builder in (barbell, baseball, basketball, bicycle, cello, skateboard, tennis, violin, yogaball)
}
"""Object name -> builder."""
