"""The gas side of a home: the gas meter (``gsme``), what it is made of, and the proxy that shows it (``home.gpf``).

* ``attributes``: which attributes a gas meter has, of which type, and what they hold when new;
* ``state``: all it remembers, one frozen value saved in one step with the counter of the Command that changed it;
* ``calendars``: which tier, and whether supply may be cut, at a moment;
* ``components``: what each ZCL command of a GBZ payload does to the state;
* ``money``: consumption, standing charge, debts, emergency credit and the valve;
* ``history``: snapshots and the half-hourly profile;
* ``gsme``: the meter: acceptance, execution, future dating, Alerts, the customer's buttons.

Events told are listed in ``lastmetre.home``.
"""
