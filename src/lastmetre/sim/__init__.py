"""The simulation: a supplier, a DSP, homes and agents, all of them the real cores, in one process on invented time.

- ``scheduler`` an event loop whose time jumps to the next thing to do; ``faults`` what goes wrong, drawn from a seed
- ``parties`` processes that are killed at a durable write and started again, ``wires`` the links between them
- ``keys``, ``memory_agent``, ``memory_dsp`` what the parties need and ``links`` gives them elsewhere
- ``world`` puts them together and plays a seed; ``evidence`` what is left of it; ``checkers`` judge I1 to I8

``python -m lastmetre.sim --seeds 1000`` plays many; a failing seed is printed with the line that plays it again.
"""
