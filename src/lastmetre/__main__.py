"""``python -m lastmetre`` is ``lastmetre``."""

from lastmetre.cli import main

main()
