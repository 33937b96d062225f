"""The DCC's Data Service Provider: access control, transform, sealing, inventory and the way out by SM WAN.

A User's signed request comes in with the identity that TLS proved; a signed Response goes back in the same exchange,
and whatever else has to leave (a Command by WAN, a document to a User) waits in the store's outbox until it has left.

Rules this room keeps:

* Nothing is sealed before every check of ``access_control`` has passed, and nothing is answered before it is stored.
* What was accepted and cannot be done yet is held, and ends in being done or in its User being told why not.
* The same document sent again gets the same answer and moves nothing; another one under its RequestID is refused.
* The DSP shares nothing with a supplier but the documents that travel between them.

Events told to the screen and the log (``tell``); ``request_id`` is the RequestID as written, ids and messages are hex:

=========================== =========================================================================================
request_accepted            request_id, user_id, service, variant, command_variant
request_repeated            request_id, user_id - the very same document came again and got the same answer
request_refused             request_id (None when unreadable), user_id, code (None when unreadable), reason
pre_command_made            request_id, device_id, message_code, message
command_sealed              request_id, device_id, message_code, message, route (local, wan, both)
command_sent_by_wan         request_id, device_id, hub_id
command_not_sent            request_id, device_id, hub_id, code - the hub was not there in time
command_not_answered        request_id, device_id, code - it left by WAN and no Response came in time
response_from_wan           request_id, device_id, message_code, message, verdict (verified, unverified)
alert_from_wan              device_id, user_id, message_code, alert_code, message, verdict (verified, unverified)
response_repeated           request_id, device_id - a copy of what was handed on before
message_dropped             hub_id, reason - something from the WAN that is not what it should be
response_pushed             request_id (None for an Alert), user_id
push_refused                request_id, user_id - the User will not take it
command_sent_again          request_id, device_id, hub_id - no Response had come
request_held                request_id, device_id, user_id, kind (later, sequence, quarantine), number, reason
held_requests_cancelled     request_id, device_id, variant, count
held_request_failed         request_id, user_id, kind, code, reason - held no longer, and not carried out
quarantine_decided          request_id (None: nothing was there), number, release, person, reason
scheduled_read_failed       request_id, number, code, reason
device_changed              device_id, status - the inventory knows something new of it
block_kept                  hub_id, or request_id and user_id - a part of a longer message
transfers_dropped           count - messages in blocks that never became whole
power_outage_told           hub_id, since
hub_power_restored          hub_id, since
wan_lost                    hub_id, direction (up, down) - by the model of the SM WAN
local_response_recorded     request_id, device_id, message_code, message, verdict (verified, unverified)
hub_connected               hub_id
hub_disconnected            hub_id
inventory_read              request_id, count; also inventory_updated, device_notified, device_decommissioned,
                            hub_status_changed, wan_matrix_read (device_id), schedule_created (device_id),
                            schedules_read, schedules_deleted (count): requests to the DCC itself
=========================== =========================================================================================
"""
