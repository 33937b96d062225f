"""One premises: the Communications Hub and the devices behind it, as bytes on a radio.

Events told by this room (``tell(name, ...)``; ids and messages as hex text):

* hub: ``hub_command_refused`` (road, reason, message), ``hub_command_forwarded`` (road, message),
  ``hub_response_returned`` (to_ppmid, message), ``hub_stored_for_wan`` (message), ``hub_kept_for_device`` (device_id,
  message), ``hub_tunnel_refused`` and ``hub_tunnel_close_refused`` (device_id, status, event_code),
  ``hub_tunnel_opened`` and ``hub_tunnel_closed`` (device_id), ``hub_join_refused`` (device_id, reason),
  ``hub_terminal_joined`` (device_id, short_address), ``hub_mailbox_fetched`` (device_id, remaining, message),
  ``hub_mailbox_expired`` (device_id, event_code), ``hub_delivery_failed`` (reason), ``han_frame_dropped`` (at_device,
  reason, detail)
* the hub's own function: ``chf_command_accepted`` (use_case), ``chf_command_refused`` (reason), ``device_log_changed``
  (devices), ``device_joined`` (device_id, device_type, event_code)
* meters: ``meter_command_accepted``, ``meter_command_refused`` (reason), ``meter_answered`` (message),
  ``meter_alerted`` (alert_code, message), ``supply_changed`` and ``valve_changed`` (before, after),
  ``balance_changed`` (before, after), ``meter_button_answered`` (use_case, done)
* PPMID: ``ppmid_screen_changed`` (words); PPMID and HCALCS: ``device_command_accepted`` (use_case),
  ``device_command_refused`` (reason)
* gas: ``gas_meter_slept`` (awake_ms, frames: how frugal a wake was), ``gas_reported`` (attributes: how many),
  ``gas_copy_changed`` (use_case, components: the proxy took them into the displays' copy)
"""
