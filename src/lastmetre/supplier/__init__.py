"""The supplier's delivery service: takes orders, picks roads, never sends twice, never loses, can say what happened.

- ``orders`` the states and their one table, ``counters`` the lanes, ``roads`` which way, ``services`` what can be asked
- ``preparation`` the documents to and from the DCC, ``responses`` what proves that a Command was done
- ``desk`` takes orders, ``worker`` moves them on, ``delivery`` hands Commands to PPMID agents and takes what comes back
- ``audit`` the hash chain, ``ports`` what is needed from outside, ``store_memory`` a store without a database
"""
