"""The door: the only sockets, files, real clock, real entropy, databases and key stores of the house.

A link implements a port that a party defined, or carries one of the languages over a real wire. It decides nothing:
what a Command, an order or a receipt means is settled on either side of it.
"""
