"""The DCC's Data Service Provider: access control, transform, sealing, inventory and the way out by SM WAN.

A User's signed request comes in with the identity that TLS proved; a signed Response goes back in the same exchange,
and whatever else has to leave (a Command by WAN, a document to a User) waits in the store's outbox until it has left.

Rules this room keeps:

* Nothing is sealed before every check of ``access_control`` has passed, and nothing is answered before it is stored.
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
local_response_recorded     request_id, device_id, message_code, message, verdict (verified, unverified)
hub_connected               hub_id
hub_disconnected            hub_id
=========================== =========================================================================================
"""
