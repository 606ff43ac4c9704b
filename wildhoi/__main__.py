"""`python -m wildhoi`: the command line."""

from wildhoi.cli import main

main()
