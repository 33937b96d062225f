"""What a PPMID maker ships: keeps sealed Commands from the supplier, passes them up the tunnel, returns the answers.

Rules this party keeps:

* A Command is in the store before anybody hears that it was taken, and stays there until its Response, or its expiry.
* The agent never opens, alters or orders: a Command goes up byte-identical, in the order of arrival, one at a time. Of
  a message it reads the grouping header alone, to know for whom it is and what it answers.
* It serves one home: what is for another hub, or for a device that is not on its list, is refused.
* It says what it saw and no more: the furthest is that the tunnel took a Command. The supplier judges the Response.
* After a restart, and when the hub opens its tunnel anew, what has had no Response is offered again.
* A later Command for the same device, top-ups apart, supersedes the earlier: it is not offered any more.
* Its time never goes back, over power cuts too. With a clock that is behind what it has seen it offers nothing, until
  a supplier's signed time helps it on: it could not know what has expired.

``core`` decides, without sockets, files, clock or randomness; ``runner`` drives it over the ports; ``keypad`` is what
the customer's buttons do.

Events told (key=value; identifiers and messages in hex):

====================================  ==================================================================================
``command_taken``                     order_id, message_code, target_id, expires_at, digest, command
``envelope_repeated``                 order_id, state: the receipt is given again, the Command is not offered again
``envelope_unreadable``               field, reason: nobody could be answered
``envelope_malformed``                order_id, field, reason: the supplier hears that it was malformed
``command_refused``                   order_id, reason
``command_offered``                   order_id, message_code, again, command
``command_taken_by_tunnel``           order_id, message_code
``command_not_taken_by_tunnel``       order_id, reason, retry_s
``command_expired``                   order_id, offered
``command_superseded``                order_id, offered: a later one for the same device was taken
``permit_renewed``                    order_id: the Command is offered again behind the new one
``permit_offered``                    order_id, permit: it goes up ahead of its Command
``permit_answered``                   order_id, status, serial, clock_reliable: the hub's word, which proves nothing
``command_not_offered``               order_id, permit: the hub's word on it; the Command did not go up
``code_entered``                      order_id, outcome: what the device answered to a top-up's digits
``response_received``                 order_id, message_code, message
``response_repeated``                 order_id
``tunnel_message_ignored``            reason, message
``receipt_handed_on``                 order_id, kind
``receipt_refused``                   order_id, kind, reason: the supplier's bearer will not have it
``bearer_lost`` / ``bearer_found``    reason, wait_ms / (nothing)
``bearer_changed``                    bearer: another one is used from now on
``tunnel_opened`` / ``tunnel_closed`` (nothing)
``commands_forgotten``                count
``clock_behind``                      (nothing): its clock was lost or set back; nothing is offered meanwhile
``clock_right_again``                 (nothing)
====================================  ==================================================================================
"""
