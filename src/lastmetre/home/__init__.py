"""One premises: the Communications Hub and the devices behind it, as bytes on a radio.

Events told by this room (``tell(name, ...)``; ids and messages as hex text):

* hub: ``hub_command_taken`` (road, message), ``hub_command_refused`` (road, reason, message), ``hub_command_forwarded``
  (device_id, message), ``hub_response_returned`` (road, message), ``hub_stored_for_wan`` (message)
* meter: ``meter_command_accepted``, ``meter_command_refused`` (reason), ``meter_answered`` (message), ``meter_alerted``
  (alert_code, message), ``supply_changed`` (before, after, cause), ``balance_changed`` (before, after)
"""
